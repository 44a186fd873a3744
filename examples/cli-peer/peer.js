/**
 * A peer in a few lines: what `sallyport connect --json` does, by the public API.
 *
 *     node examples/cli-peer/peer.js [--loopback] [stun:HOST:PORT …]
 *
 * Run two of them, and give each line that has a "signal" to the other one's standard input, by whatever means: the lines may come in
 * any order, late or twice. Each tells its path, then that data has gone both ways, and leaves when its standard input ends.
 */
import { createInterface } from 'node:readline'
import { createTraversal } from 'sallyport'

const servers = process.argv.slice(2).filter((argument) => argument.startsWith('stun:'))
const hosts = { loopback: process.argv.includes('--loopback') }
const tell = (line) => console.log(JSON.stringify(line))

const startedAt = performance.now()
const traversal = await createTraversal({ servers, hosts })
const session = traversal.connect({ peer: 'the other one' })

session.on('signal', (signal) => tell({ signal }))
session.on('path', ({ kind, local, remote, rtt }) => tell({ event: 'path', kind, local: local.type, remote: remote.type, rtt }))
session.on('error', ({ code, message }) => tell({ failed: code, reason: message }))

// Datagrams get lost: a ping goes out now and then, and every ping is answered. Both ways is an answer, and a ping of the peer's.
const ping = `ping ${crypto.randomUUID()} 1 `
const pinging = setInterval(() => session.path && session.send(Buffer.from(ping)), 200)
const missing = new Set(['their ping', 'their pong'])
session.on('message', (data) => {
  const text = Buffer.from(data).toString()
  if (text.startsWith('ping ')) session.send(Buffer.from(`pong ${text}`))
  const wasMissing = missing.size
  missing.delete(text === `pong ${ping}` ? 'their pong' : text.startsWith('ping ') ? 'their ping' : '')
  if (wasMissing === 0 || missing.size > 0) return
  const { kind, local, remote } = session.path
  tell({ done: true, ms: performance.now() - startedAt, local: local.type, remote: remote.type, direct: kind === 'direct' })
})

for await (const line of createInterface({ input: process.stdin })) {
  const { signal } = JSON.parse(line)
  if (signal) session.signal(signal)
}
clearInterval(pinging)
await session.close()
await traversal.close()
