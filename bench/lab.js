/**
 * How many datagrams the virtual internet carries in a second of real time: two hosts behind port-restricted NATs that send to each other
 * through the public internet, synchronously. Run after a build: node bench/lab.js [datagrams]
 */
import { createLab } from '../dist/lab/index.js'

const total = Number(process.argv[2] ?? 1_000_000)
const BATCH = 100

async function open(lab, name) {
  const router = lab.router(`router of ${name}`, { nat: 'portRestricted' })
  const host = lab.host(name, { behind: router })
  const socket = await host.bind({ family: 4, port: 5000 })
  const side = { socket, received: 0, external: router.addresses[0].withPort(5000) }
  socket.handle({ datagram: () => side.received++, sendFailed() {}, drained() {}, lost() {} })
  return side
}

const lab = createLab()
const a = await open(lab, 'a')
const b = await open(lab, 'b')
const data = new Uint8Array(100)

function exchange(count) {
  const before = a.received + b.received
  const started = process.hrtime.bigint()
  for (let sent = 0; sent < count; sent += 2 * BATCH) {
    for (let i = 0; i < BATCH; i++) {
      a.socket.send(data, b.external)
      b.socket.send(data, a.external)
    }
    lab.advance(1)
  }
  lab.advance(100)
  const seconds = Number(process.hrtime.bigint() - started) / 1e9
  return { received: a.received + b.received - before, seconds }
}

exchange(100_000)
const { received, seconds } = exchange(total)
console.log(`${received} datagrams through two NATs in ${seconds.toFixed(2)} s: ${Math.round(received / seconds)} per second`)
