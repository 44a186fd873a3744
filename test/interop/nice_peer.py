"""
libnice's ICE agent as a process of its own: JSON lines in and out, as foreign-agent.ts describes.
python3 nice_peer.py --controlling|--controlled [--stun host:port] [--turn json] [--loopback] [--no-trickle] [--lite] [--renomination]
"""

import ctypes
import json
import os
import sys

import gi

gi.require_version("Nice", "0.1")
from gi.repository import GLib, Nice  # noqa: E402

NAME = "libnice-renomination" if "--renomination" in sys.argv else "libnice"
COMPONENT = 1
TYPES = {
    Nice.CandidateType.HOST: "host",
    Nice.CandidateType.SERVER_REFLEXIVE: "srflx",
    Nice.CandidateType.PEER_REFLEXIVE: "prflx",
    Nice.CandidateType.RELAYED: "relay",
}

# Its introspection data leaves out the one function that makes it read its sockets.
RECEIVE = ctypes.CFUNCTYPE(
    None, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint, ctypes.c_uint, ctypes.POINTER(ctypes.c_char), ctypes.c_void_p
)
attach_recv = ctypes.CDLL("libnice.so.10").nice_agent_attach_recv
attach_recv.argtypes = [ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint, ctypes.c_void_p, RECEIVE, ctypes.c_void_p]
attach_recv.restype = ctypes.c_int


def emit(value):
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


def argument(name):
    return sys.argv[sys.argv.index(name) + 1] if name in sys.argv else None


def give_up(kind, error, trace):
    """What goes wrong in a callback of GLib's would else only be printed."""
    emit({"failed": repr(error)})
    sys.__excepthook__(kind, error, trace)


class Peer:
    def __init__(self):
        options = Nice.AgentOption.REGULAR_NOMINATION | Nice.AgentOption.CONSENT_FRESHNESS
        if "--no-trickle" not in sys.argv:
            options |= Nice.AgentOption.ICE_TRICKLE
        if "--renomination" in sys.argv:
            options |= Nice.AgentOption.SUPPORT_RENOMINATION
        if "--lite" in sys.argv:
            options |= Nice.AgentOption.LITE_MODE
        self.agent = Nice.Agent.new_full(GLib.MainContext.default(), Nice.Compatibility.RFC5245, options)
        self.agent.set_property("controlling-mode", "--controlling" in sys.argv)
        self.agent.set_property("ice-tcp", False)
        self.agent.set_property("upnp", False)
        stun = argument("--stun")
        if stun is not None:
            host, port = stun.rsplit(":", 1)
            self.agent.set_property("stun-server", host)
            self.agent.set_property("stun-server-port", int(port))
        if "--loopback" in sys.argv:
            address = Nice.Address.new()
            address.set_from_string("127.0.0.1")
            self.agent.add_local_address(address)
        self.candidates = []
        self.gathered = False
        self.remote = None
        self.known = set()
        self.inbox = set()
        # Its own restart has not been answered yet.
        self.offering = False
        self.generation = 1
        self.talking = 0
        self.selected = None
        self.agent.connect("new-candidate-full", self.on_candidate)
        self.agent.connect("candidate-gathering-done", self.on_gathered)
        self.agent.connect("new-selected-pair-full", self.on_selected)
        self.agent.connect("component-state-changed", self.on_state)
        self.stream = self.agent.add_stream(1)
        turn = argument("--turn")
        if turn is not None:
            server = json.loads(turn)
            self.agent.set_property("force-relay", True)
            self.agent.set_relay_info(
                self.stream,
                COMPONENT,
                server["host"],
                server["port"],
                server["username"],
                server["password"],
                Nice.RelayType.UDP if server["transport"] == "udp" else Nice.RelayType.TCP,
            )
        self.receive = RECEIVE(self.on_data)
        # The hash of an object of GObject's is its address.
        if not attach_recv(hash(self.agent), self.stream, COMPONENT, None, self.receive, None):
            raise RuntimeError("nice_agent_attach_recv failed")

    def signal(self):
        _, ufrag, pwd = self.agent.get_local_credentials(self.stream)
        emit(
            {
                "signal": {
                    "v": 1,
                    "ufrag": ufrag,
                    "pwd": pwd,
                    "controlling": self.agent.get_property("controlling-mode"),
                    "candidates": self.candidates,
                    **({"end": True} if self.gathered else {}),
                    **({"lite": True} if "--lite" in sys.argv else {}),
                    **({"renomination": True} if "--renomination" in sys.argv else {}),
                }
            }
        )

    def on_candidate(self, agent, candidate):
        self.candidates.append(agent.generate_local_candidate_sdp(candidate).replace("a=", "", 1))
        if "--no-trickle" not in sys.argv:
            self.signal()

    def on_gathered(self, _agent, _stream):
        self.gathered = True
        self.signal()

    def on_selected(self, _agent, _stream, _component, local, remote):
        self.selected = {
            "local": TYPES[local.type],
            "remote": TYPES[remote.type],
            "address": "%s:%d" % (remote.addr.dup_string(), remote.addr.get_port()),
        }
        self.talk()

    def on_state(self, _agent, _stream, _component, state):
        if state == Nice.ComponentState.FAILED:
            emit({"failed": "libnice says that the component failed"})
        self.talk()

    def talk(self):
        """Sends from CONNECTED on: READY comes seconds later, while it looks for something better."""
        state = self.agent.get_component_state(self.stream, COMPONENT)
        if self.talking == self.generation or self.selected is None:
            return
        if state not in (Nice.ComponentState.CONNECTED, Nice.ComponentState.READY):
            return
        self.talking = self.generation
        # Its property tells the role that it was given, not the one that a conflict left it.
        emit({"connected": self.selected})
        text = "ping " + NAME + ("" if self.generation == 1 else " %d" % self.generation)

        def ping():
            if "pong " + text in self.inbox:
                return False
            self.send(text)
            return True

        ping()
        GLib.timeout_add(100, ping)

    def send(self, text):
        self.agent.send(self.stream, COMPONENT, len(text), text)

    def on_data(self, _agent, _stream, _component, length, data, _user):
        text = ctypes.string_at(data, length).decode()
        if not text.startswith("pong "):
            self.send("pong " + text)
        if text not in self.inbox:
            self.inbox.add(text)
            emit({"received": text})

    def restart(self):
        self.generation += 1
        self.selected = None
        self.remote = None
        self.known.clear()
        self.agent.restart_stream(self.stream)
        self.signal()

    def hear(self, remote):
        if remote.get("bye"):
            return
        _, ufrag, _ = self.agent.get_local_credentials(self.stream)
        if remote["ufrag"] != self.remote:
            if remote.get("for", ufrag) != ufrag:
                return
            # The other side started anew: so do we (RFC 8445 9), unless that is its answer.
            if self.remote is not None and not self.offering:
                self.restart()
            self.offering = False
            self.remote = remote["ufrag"]
            self.agent.set_remote_credentials(self.stream, remote["ufrag"], remote["pwd"])
        new = [line for line in remote["candidates"] if line not in self.known]
        self.known.update(new)
        if new:
            parsed = [self.agent.parse_remote_candidate_sdp(self.stream, "a=" + line) for line in new]
            self.agent.set_remote_candidates(self.stream, COMPONENT, parsed)
        if remote.get("end"):
            self.agent.peer_candidate_gathering_done(self.stream)

    def command(self, line):
        if line.get("restart"):
            self.offering = True
            self.restart()
        else:
            self.hear(line["signal"])


def main():
    sys.excepthook = give_up
    loop = GLib.MainLoop()
    peer = Peer()
    unread = b""

    def on_input(descriptor, _condition):
        nonlocal unread
        data = os.read(descriptor, 65536)
        if not data:
            loop.quit()
            return False
        *lines, unread = (unread + data).split(b"\n")
        for line in lines:
            try:
                peer.command(json.loads(line))
            except Exception as error:
                emit({"failed": repr(error)})
        return True

    GLib.io_add_watch(sys.stdin.fileno(), GLib.PRIORITY_DEFAULT, GLib.IO_IN | GLib.IO_HUP, on_input)
    peer.agent.gather_candidates(peer.stream)
    loop.run()
    # It lets go of its allocation.
    peer.agent.close_async(lambda *_: loop.quit())
    loop.run()


main()
