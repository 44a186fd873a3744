// @ts-check
/**
 * werift's ICE agent as a process of its own: JSON lines in and out, as `foreign-agent.ts` describes. Only its ICE, no DTLS.
 * `node werift-peer.js --controlling|--controlled [--stun host:port] [--turn json] [--loopback] [--lite]`
 */
import { readFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { Candidate, Connection } from 'werift'

const controlling = process.argv.includes('--controlling')
const stun = process.argv[process.argv.indexOf('--stun') + 1]?.split(':')
const server = process.argv.includes('--stun') ? /** @type {[string, number]} */ ([stun?.[0], Number(stun?.[1])]) : undefined

/** @type {{ transport: 'udp' | 'tcp' | 'tls', host: string, port: number, username: string, password: string, ca?: string } | undefined} */
const turn = process.argv.includes('--turn') ? JSON.parse(process.argv[process.argv.indexOf('--turn') + 1] ?? '') : undefined

const lite = process.argv.includes('--lite')
const connection = new Connection(controlling, {
  useIpv6: false,
  iceLite: lite,
  ...(server === undefined ? {} : { stunServer: server }),
  ...(turn === undefined
    ? {}
    : {
        turnServer: /** @type {[string, number]} */ ([turn.host, turn.port]),
        turnUsername: turn.username,
        turnPassword: turn.password,
        turnTransport: turn.transport,
        ...(turn.ca === undefined ? {} : { turnTlsOptions: { ca: readFileSync(turn.ca, 'utf8') } }),
        forceTurn: true,
      }),
  ...(process.argv.includes('--loopback') ? { additionalHostAddresses: ['127.0.0.1'] } : {}),
})
// Its default is a public server; nobody is contacted who was not named.
if (server === undefined) connection.stunServer = undefined

/** @type {string[]} */
let candidates = []
const known = new Set()
const inbox = new Set()
let end = false
let remoteUfrag = ''
let generation = 1
let connecting = false
/** Its own restart has not been answered yet. */
let offering = false
/** @type {NodeJS.Timeout | undefined} */
let repeating

/** @param {unknown} value */
function print(value) {
  process.stdout.write(`${JSON.stringify(value)}\n`)
}

function signal() {
  const { localUsername: ufrag, localPassword: pwd } = connection
  const flags = { ...(end ? { end } : {}), ...(lite ? { lite } : {}) }
  print({ signal: { v: 1, ufrag, pwd, controlling: connection.iceControlling, candidates, ...flags } })
}

async function gather() {
  await connection.gatherCandidates()
  end = true
  signal()
}

async function restart() {
  generation++
  await connection.restart()
  clearInterval(repeating)
  candidates = []
  known.clear()
  end = connecting = false
  remoteUfrag = ''
  await gather()
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
  if (text === `pong ${ping()}`) clearInterval(repeating)
})

function ping() {
  return generation === 1 ? 'ping werift' : `ping werift ${generation}`
}

/** @param {{ ufrag: string, pwd: string, for?: string, candidates: string[], end?: boolean, bye?: boolean, lite?: boolean }} remote */
async function hear(remote) {
  if (remote.bye) return
  if (remote.ufrag !== remoteUfrag) {
    if (remote.for !== undefined && remote.for !== connection.localUsername) return
    // The other side started anew: so do we (RFC 8445 9), unless that is its answer.
    if (remoteUfrag !== '' && !offering) await restart()
    offering = false
    remoteUfrag = remote.ufrag
    connection.setRemoteParams({ iceLite: remote.lite === true, usernameFragment: remote.ufrag, password: remote.pwd })
  }
  for (const line of remote.candidates) {
    if (known.has(line)) continue
    known.add(line)
    await connection.addRemoteCandidate(Candidate.fromSdp(line.replace(/^candidate:/, '')))
  }
  if (remote.end && !connection.remoteCandidatesEnd) await connection.addRemoteCandidate(undefined)
  if (connecting) return
  connecting = true
  connect().catch(fail)
}

async function connect() {
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
  const text = Buffer.from(ping())
  connection.send(text)
  repeating = setInterval(() => connection.send(text), 100)
}

/** @param {unknown} error */
function fail(error) {
  print({ failed: String(error) })
}

const gathering = gather()

/** One after the other: a restart takes a while. Told of ours before it has a candidate of its own, which a relay makes late, it gives up. */
let working = turn === undefined ? Promise.resolve() : gathering

createInterface({ input: process.stdin })
  .on('line', (line) => {
    const { restart: anew, signal: said } = JSON.parse(line)
    working = working
      .then(() => {
        if (anew) offering = true
        return anew ? restart() : hear(said)
      })
      .catch(fail)
  })
  .on('close', async () => {
    await connection.close()
    process.exit()
  })

await gathering
