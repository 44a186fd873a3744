// @ts-check
/**
 * werift's ICE agent as a process of its own: JSON lines in and out, as `foreign-agent.ts` describes. Only its ICE, no DTLS.
 * `node werift-peer.js --controlling|--controlled [--stun host:port] [--loopback]`
 */
import { createInterface } from 'node:readline'
import { Candidate, Connection } from 'werift'

const controlling = process.argv.includes('--controlling')
const stun = process.argv[process.argv.indexOf('--stun') + 1]?.split(':')
const server = process.argv.includes('--stun') ? /** @type {[string, number]} */ ([stun?.[0], Number(stun?.[1])]) : undefined

const connection = new Connection(controlling, {
  useIpv6: false,
  ...(server === undefined ? {} : { stunServer: server }),
  ...(process.argv.includes('--loopback') ? { additionalHostAddresses: ['127.0.0.1'] } : {}),
})
// Its default is a public server; nobody is contacted who was not named.
if (server === undefined) connection.stunServer = undefined

/** @type {string[]} */
const candidates = []
const known = new Set()
const inbox = new Set()
let end = false
let connecting = false
/** @type {NodeJS.Timeout | undefined} */
let repeating

/** @param {unknown} value */
function print(value) {
  process.stdout.write(`${JSON.stringify(value)}\n`)
}

function signal() {
  const { localUsername: ufrag, localPassword: pwd } = connection
  print({ signal: { v: 1, ufrag, pwd, controlling: connection.iceControlling, candidates, ...(end ? { end } : {}) } })
}

connection.onIceCandidate.subscribe((candidate) => {
  candidates.push(`candidate:${candidate.toSdp()}`)
  signal()
})

connection.onData.subscribe((data) => {
  const text = data.toString()
  if (!text.startsWith('pong ')) connection.send(Buffer.from(`pong ${text}`))
  if (inbox.has(text)) return
  inbox.add(text)
  print({ received: text })
  if (text === 'pong ping werift') clearInterval(repeating)
})

/** @param {{ ufrag: string, pwd: string, candidates: string[], end?: boolean, bye?: boolean }} remote */
async function hear(remote) {
  if (remote.bye) return
  if (!connection.remoteUsername) connection.setRemoteParams({ iceLite: false, usernameFragment: remote.ufrag, password: remote.pwd })
  for (const line of remote.candidates) {
    if (known.has(line)) continue
    known.add(line)
    await connection.addRemoteCandidate(Candidate.fromSdp(line.replace(/^candidate:/, '')))
  }
  if (remote.end && !connection.remoteCandidatesEnd) await connection.addRemoteCandidate(undefined)
  if (connecting) return
  connecting = true
  await connection.connect()
  const { nominated } = connection
  print({
    connected: {
      controlling: connection.iceControlling,
      local: nominated?.localCandidate.type,
      remote: nominated?.remoteCandidate.type,
      address: nominated?.remoteAddr.join(':'),
    },
  })
  const ping = () => void connection.send(Buffer.from('ping werift'))
  ping()
  repeating = setInterval(ping, 100)
}

createInterface({ input: process.stdin })
  .on('line', (line) => {
    hear(JSON.parse(line).signal).catch((error) => print({ failed: String(error) }))
  })
  .on('close', async () => {
    await connection.close()
    process.exit()
  })

await connection.gatherCandidates()
end = true
signal()
