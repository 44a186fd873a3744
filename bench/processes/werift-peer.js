// @ts-check
/**
 * werift's peer of `connect-processes.js`, given its best: every candidate is signalled when it comes, checks begin with the first word of
 * the other side, and the end of candidates is told, so that `connect` need not poll for more of them.
 */
import { Candidate, Connection } from 'werift'
import { conversation, mark, run, tell } from './peer.js'

run(async ({ stun, controlling }) => {
  const [ip = '', port] = stun.split(':')
  const connection = new Connection(controlling, { stunServer: [ip, Number(port)], useIpv6: false })
  const { localUsername: ufrag, localPassword: pwd } = connection
  const { start, receive } = conversation((data) => void connection.send(data))
  connection.onIceCandidate.subscribe((candidate) => {
    mark(`signal with a ${candidate.type} candidate`)
    tell({ ufrag, pwd, candidate: candidate.toSdp() })
  })
  connection.onData.subscribe(receive)
  void connection.gatherCandidates().then(() => tell({ ufrag, pwd, end: true }))
  let connecting = false
  return {
    send: (data) => void connection.send(data),
    hear(signal) {
      if (!connecting) connection.setRemoteParams({ iceLite: false, usernameFragment: signal.ufrag, password: signal.pwd })
      if (signal.candidate !== undefined) {
        mark('heard of a candidate')
        void connection.addRemoteCandidate(Candidate.fromSdp(signal.candidate))
      }
      if (signal.end) void connection.addRemoteCandidate(undefined)
      if (connecting) return
      connecting = true
      void connection.connect().then(start)
    },
    close: () => connection.close(),
  }
})
