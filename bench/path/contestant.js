// @ts-check
/**
 * One contestant of `bench/path.js` in a process of its own: two ends on loopback, one sends, the other one counts.
 * Told over IPC how many datagrams of what size to deliver, answers how long it took and how much processor time.
 */
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { createTraversal } from '../../dist/index.js'

/** On their way at a time: no more than the buffers of every contestant hold, so that none of them loses any. */
const WINDOW = 64
const TIMEOUT = 5_000

const LOOPBACK = '127.0.0.1'
const BUFFER = 4 << 20

/**
 * @typedef {(data: Uint8Array) => void} Send
 * @typedef {(received: (data: Uint8Array) => void) => Promise<Send>} Opener
 */

/** @type {(host: string, options: unknown, done: (error: null, address: string, family: number) => void) => void} */
const literal = (host, _options, done) => done(null, host, 4)

/** @param {boolean} tuned */
async function bound(tuned) {
  const socket = createSocket(tuned ? { type: 'udp4', lookup: /** @type {any} */ (literal) } : { type: 'udp4' })
  // Listening before it is asked to: with a look-up that answers at once, so does the socket.
  const listening = once(socket, 'listening')
  socket.bind(0, LOOPBACK)
  await listening
  if (tuned) {
    socket.setRecvBufferSize(BUFFER)
    socket.setSendBufferSize(BUFFER)
  }
  return socket
}

/**
 * Two traversals that hand each other their signals. @param {(data: Uint8Array) => void} received
 * @param {import('../../dist/index.js').TraversalOptions} first @param {import('../../dist/index.js').TraversalOptions} second
 * @returns {Promise<Send>}
 */
async function connect(received, first, second) {
  const hosts = { loopback: true, include: [`${LOOPBACK}/32`], accept: (/** @type {any} */ { address }) => address.ip === LOOPBACK }
  const [one, two] = await Promise.all([createTraversal({ hosts, ...first }), createTraversal({ hosts, ...second })])
  const a = one.connect({ peer: 'b' })
  const b = two.connect({ peer: 'a' })
  a.on('signal', (signal) => void b.signal(signal))
  b.on('signal', (signal) => void a.signal(signal))
  b.on('message', received)
  await Promise.all([a.ready, b.ready])
  return (data) => void a.send(data)
}

/** @type {Record<string, Opener>} */
const openers = {
  /** By the public API, on sockets of our own. */
  async sallyport(received) {
    return connect(received, {}, {})
  },

  /** The same on two sockets of the caller's, who goes on using them too. */
  async shared(received) {
    const [one, two] = await Promise.all([bound(true), bound(true)])
    return connect(received, { socket: one }, { socket: two })
  },

  /** Both sockets take any remote, as ours do. */
  async dgram(received) {
    const [a, b] = await Promise.all([bound(true), bound(true)])
    b.on('message', received)
    const { port } = b.address()
    return (data) => a.send(data, port, LOOPBACK)
  },

  /** Both sockets take each other and nobody else: what one session and nothing beside it could use. */
  async connected(received) {
    const [a, b] = await Promise.all([bound(true), bound(true)])
    b.on('message', received)
    const both = Promise.all([once(a, 'connect'), once(b, 'connect')])
    a.connect(b.address().port, LOOPBACK)
    b.connect(a.address().port, LOOPBACK)
    await both
    return (data) => a.send(data)
  },

  /** As the manual shows it: the socket as it comes, and a callback for each datagram. */
  async naive(received) {
    const [a, b] = await Promise.all([bound(false), bound(false)])
    b.on('message', received)
    const { port } = b.address()
    return (data) => {
      a.send(data, port, LOOPBACK, (error) => {
        if (error !== null) throw error
      })
    }
  },
}

const name = process.argv[2] ?? ''
const open = openers[name]
if (open === undefined || process.send === undefined) throw new Error(`not a contestant: ${name}`)

let expected = 0
let size = 0
let sent = 0
let received = 0
/** @type {(() => void) | undefined} */
let whenDone
let payload = new Uint8Array(0)

const send = await open((data) => {
  if (data.length !== size) throw new Error(`${data.length} bytes came, not ${size}`)
  if (++received < sent) return
  if (sent < expected) fill()
  else whenDone?.()
})

function fill() {
  const until = Math.min(sent + WINDOW, expected)
  while (sent < until) {
    sent++
    send(payload)
  }
}

process.on('message', async (/** @type {{ datagrams: number, bytes: number }} */ { datagrams, bytes }) => {
  payload = new Uint8Array(bytes).fill(0x80)
  size = bytes
  expected = datagrams
  sent = received = 0
  const timer = setTimeout(() => {
    throw new Error(`${name}: ${sent - received} of ${sent} datagrams are missing`)
  }, TIMEOUT)
  const used = process.cpuUsage()
  const began = process.hrtime.bigint()
  await new Promise((resolve) => {
    whenDone = () => resolve(undefined)
    fill()
  })
  const nanoseconds = Number(process.hrtime.bigint() - began)
  const { user, system } = process.cpuUsage(used)
  clearTimeout(timer)
  process.send?.({ rate: (datagrams * 1e9) / nanoseconds, cpu: (user + system) / datagrams })
})
process.on('disconnect', () => process.exit())
process.send({ ready: true })
