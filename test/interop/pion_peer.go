// pion's ICE agent as a process of its own: JSON lines in and out, as foreign-agent.ts describes.
// pion_peer --controlling|--controlled [--stun host:port] [--turn json] [--loopback] [--lite]
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/pion/ice/v2"
)

type signal struct {
	Version     int      `json:"v"`
	Ufrag       string   `json:"ufrag"`
	Password    string   `json:"pwd"`
	For         string   `json:"for,omitempty"`
	Controlling bool     `json:"controlling"`
	Candidates  []string `json:"candidates"`
	End         bool     `json:"end,omitempty"`
	Bye         bool     `json:"bye,omitempty"`
	Lite        bool     `json:"lite,omitempty"`
}

type turnServer struct {
	Transport string `json:"transport"`
	Host      string `json:"host"`
	Port      int    `json:"port"`
	Username  string `json:"username"`
	Password  string `json:"password"`
	CA        string `json:"ca"`
}

type command struct {
	Signal  *signal `json:"signal"`
	Restart bool    `json:"restart"`
}

// What belongs to the peer is touched by one goroutine, which runs what the others send it. None of pion's callbacks may wait for
// pion: its agent hands out candidates from within its own loop.
type peer struct {
	work        chan func()
	agent       *ice.Agent
	connection  *ice.Conn
	controlling bool
	ufrag, pwd  string
	candidates  []string
	gathered    bool
	remote      string
	known       map[string]bool
	inbox       map[string]bool
	// Its own restart has not been answered yet.
	offering   bool
	generation int
	talking    int
}

func emit(name string, value interface{}) {
	line, err := json.Marshal(map[string]interface{}{name: value})
	if err != nil {
		panic(err)
	}
	fmt.Println(string(line))
}

func check(err error) {
	if err != nil {
		emit("failed", err.Error())
		os.Exit(1)
	}
}

func flag(name string) bool {
	return argument(name) >= 0
}

func argument(name string) int {
	for i, given := range os.Args {
		if given == name {
			return i
		}
	}
	return -1
}

func configuration() *ice.AgentConfig {
	config := &ice.AgentConfig{
		NetworkTypes:     []ice.NetworkType{ice.NetworkTypeUDP4},
		MulticastDNSMode: ice.MulticastDNSModeDisabled,
		Lite:             flag("--lite"),
		IncludeLoopback:  flag("--loopback"),
	}
	if config.Lite {
		config.CandidateTypes = []ice.CandidateType{ice.CandidateTypeHost}
	}
	// A lite agent that is told of a server takes it for a mistake.
	if at := argument("--stun"); at >= 0 && !config.Lite {
		host, port, err := net.SplitHostPort(os.Args[at+1])
		check(err)
		number, err := strconv.Atoi(port)
		check(err)
		config.Urls = []*ice.URL{{Scheme: ice.SchemeTypeSTUN, Proto: ice.ProtoTypeUDP, Host: host, Port: number}}
	}
	if at := argument("--turn"); at >= 0 {
		var server turnServer
		check(json.Unmarshal([]byte(os.Args[at+1]), &server))
		url := ice.URL{
			Scheme: ice.SchemeTypeTURN, Proto: ice.ProtoTypeTCP, Host: server.Host, Port: server.Port,
			Username: server.Username, Password: server.Password,
		}
		switch server.Transport {
		case "udp":
			url.Proto = ice.ProtoTypeUDP
		case "tls":
			url.Scheme = ice.SchemeTypeTURNS
			// It takes the system's certificates, which Go looks for where it is told.
			check(os.Setenv("SSL_CERT_FILE", server.CA))
		}
		config.Urls = append(config.Urls, &url)
		config.CandidateTypes = []ice.CandidateType{ice.CandidateTypeRelay}
	}
	return config
}

func (p *peer) say() {
	emit("signal", signal{
		Version: 1, Ufrag: p.ufrag, Password: p.pwd, Controlling: p.controlling,
		Candidates: append([]string{}, p.candidates...), End: p.gathered, Lite: flag("--lite"),
	})
}

// gather begins a generation.
func (p *peer) gather() {
	var err error
	p.ufrag, p.pwd, err = p.agent.GetLocalUserCredentials()
	check(err)
	p.generation++
	p.candidates = nil
	p.gathered = false
	p.remote = ""
	p.known = map[string]bool{}
	generation := p.generation
	check(p.agent.OnCandidate(func(candidate ice.Candidate) {
		p.work <- func() { p.found(candidate, generation) }
	}))
	p.say()
	check(p.agent.GatherCandidates())
}

func (p *peer) found(candidate ice.Candidate, generation int) {
	if generation != p.generation {
		return
	}
	if candidate == nil {
		p.gathered = true
	} else {
		p.candidates = append(p.candidates, "candidate:"+candidate.Marshal())
	}
	p.say()
}

// restart draws new credentials. pion closes its sockets and drops the path.
func (p *peer) restart() {
	check(p.agent.Restart("", ""))
	p.gather()
}

func (p *peer) hear(said *signal) {
	if said.Bye {
		return
	}
	if said.Ufrag != p.remote {
		if said.For != "" && said.For != p.ufrag {
			return
		}
		// The other side started anew: so do we (RFC 8445 9), unless that is its answer.
		if p.remote != "" && !p.offering {
			p.restart()
		}
		p.offering = false
		p.remote = said.Ufrag
		if p.generation == 1 {
			go p.connect(said.Ufrag, said.Password)
		} else {
			check(p.agent.SetRemoteCredentials(said.Ufrag, said.Password))
		}
	}
	for _, line := range said.Candidates {
		if p.known[line] {
			continue
		}
		p.known[line] = true
		candidate, err := ice.UnmarshalCandidate(strings.TrimPrefix(line, "candidate:"))
		check(err)
		check(p.agent.AddRemoteCandidate(candidate))
	}
}

// connect begins the checks, and reads for as long as the agent lives: its connection outlasts restarts.
func (p *peer) connect(ufrag, pwd string) {
	begin := p.agent.Accept
	if p.controlling {
		begin = p.agent.Dial
	}
	connection, err := begin(context.Background(), ufrag, pwd)
	check(err)
	p.work <- func() {
		p.connection = connection
		p.talk()
	}
	for data := make([]byte, 2048); ; {
		length, err := connection.Read(data)
		if err != nil {
			return
		}
		text := string(data[:length])
		p.work <- func() { p.receive(text) }
	}
}

func (p *peer) receive(text string) {
	if !strings.HasPrefix(text, "pong ") {
		p.send("pong " + text)
	}
	if !p.inbox[text] {
		p.inbox[text] = true
		emit("received", text)
	}
}

// send may come to nothing while there is no pair.
func (p *peer) send(text string) {
	_, _ = p.connection.Write([]byte(text))
}

// talk tells of the pair, once a generation, and sends until that is answered.
func (p *peer) talk() {
	pair, err := p.agent.GetSelectedCandidatePair()
	if err != nil || pair == nil || p.connection == nil || p.talking == p.generation {
		return
	}
	p.talking = p.generation
	emit("connected", map[string]interface{}{
		"controlling": p.controlling,
		"local":       pair.Local.Type().String(),
		"remote":      pair.Remote.Type().String(),
		"address":     net.JoinHostPort(pair.Remote.Address(), strconv.Itoa(pair.Remote.Port())),
	})
	text := "ping pion"
	if p.generation > 1 {
		text = fmt.Sprintf("%s %d", text, p.generation)
	}
	p.ping(text)
}

func (p *peer) ping(text string) {
	if p.inbox["pong "+text] {
		return
	}
	p.send(text)
	time.AfterFunc(100*time.Millisecond, func() { p.work <- func() { p.ping(text) } })
}

// input reads the commands, until there are no more.
func (p *peer) input() {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var line command
		check(json.Unmarshal(lines.Bytes(), &line))
		p.work <- func() {
			if line.Restart {
				p.offering = true
				p.restart()
			} else if line.Signal != nil {
				p.hear(line.Signal)
			}
		}
	}
	// That it lets go of its allocation is asked, and not waited for.
	p.work <- func() {
		_ = p.agent.Close()
		os.Exit(0)
	}
}

func main() {
	agent, err := ice.NewAgent(configuration())
	check(err)
	p := &peer{
		work: make(chan func(), 1000), agent: agent, controlling: flag("--controlling"), inbox: map[string]bool{},
	}
	check(agent.OnSelectedCandidatePairChange(func(_, _ ice.Candidate) { p.work <- p.talk }))
	check(agent.OnConnectionStateChange(func(state ice.ConnectionState) {
		if state == ice.ConnectionStateFailed {
			p.work <- func() { emit("failed", "pion says that the connection failed") }
		}
	}))
	p.gather()
	go p.input()
	for work := range p.work {
		work()
	}
}
