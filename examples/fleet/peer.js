/**
 * A peer that uses a fleet: it asks the credentials service for relays and credentials, and for other credentials when half of their life is over.
 *
 *     TOKEN=… node examples/fleet/peer.js --service http://127.0.0.1:8080/ [--only] [--rate 200]
 *
 * Run two of them, and give each line that has a "signal" to the other one's standard input, as with examples/cli-peer. Each sends that many
 * datagrams a second, and tells its path, what became of the relays, and every second what came and the longest time without. With --only all
 * data goes over relays, also where a direct path is to be had. It leaves when its standard input ends.
 */
import { createInterface } from 'node:readline'
import { parseArgs } from 'node:util'
import { createTraversal } from 'sallyport'

const { service, only, rate } = parseArgs({
  options: { service: { type: 'string' }, only: { type: 'boolean', default: false }, rate: { type: 'string', default: '200' } },
}).values
const tell = (line) => console.log(JSON.stringify(line))

// The library asks for each relay, all of them at about the same time: one answer is for all.
let answer
let askedAt = -Infinity
function ask() {
  if (performance.now() - askedAt < 10_000) return answer
  askedAt = performance.now()
  answer = request()
  answer.catch(() => (askedAt = -Infinity))
  return answer
}

async function request() {
  const headers = { authorization: `Bearer ${process.env.TOKEN}` }
  const response = await fetch(service, { headers, signal: AbortSignal.timeout(5_000) })
  if (!response.ok) throw new Error(`the credentials service answered ${response.status}`)
  const { username, password, ttl, uris } = await response.json()
  return { uris, credentials: { username, password, expiresAt: Date.now() + ttl * 1_000 } }
}

const traversal = await createTraversal({
  servers: (await ask()).uris,
  credentials: async () => (await ask()).credentials,
  relay: { only },
})
const session = traversal.connect({ peer: 'the other one' })
session.on('signal', (signal) => tell({ signal }))
session.on('path', ({ kind, local, remote, rtt }) => tell({ event: 'path', kind, local, remote, rtt }))
session.on('error', ({ code, message }) => tell({ failed: code, reason: message }))

let received = 0
let heardAt = performance.now()
let longestGap = 0
const noteGap = () => (longestGap = Math.max(longestGap, performance.now() - heardAt))
session.on('message', () => {
  noteGap()
  heardAt = performance.now()
  received++
})

// Timers are late now and then: what should have gone out by now goes out.
const datagram = new Uint8Array(1_000)
let sent = 0
let connectedAt
const sending = setInterval(() => {
  connectedAt ??= session.path && performance.now()
  const due = connectedAt === undefined ? 0 : ((performance.now() - connectedAt) * rate) / 1_000
  for (; sent < due; sent++) session.path && session.send(datagram)
}, 5)

let relays = ''
const watching = setInterval(() => {
  const now = traversal
    .status()
    .relays.map(({ server, state, transport, relayed, failure }) => ({ server, state, transport, relayed, failure }))
  if (relays !== JSON.stringify(now)) tell({ event: 'relays', relays: now })
  relays = JSON.stringify(now)
}, 100)
const reporting = setInterval(() => {
  noteGap()
  tell({ event: 'flow', received, sent, longestGap: Math.round(longestGap) })
  longestGap = 0
}, 1_000)

for await (const line of createInterface({ input: process.stdin })) {
  const { signal } = JSON.parse(line)
  if (signal) session.signal(signal)
}
for (const timer of [sending, watching, reporting]) clearInterval(timer)
await session.close()
await traversal.close()
