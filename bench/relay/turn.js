// @ts-check
/**
 * Just enough of a TURN client to set up what is measured, the same for every server: 401, Allocate, ChannelBind, Refresh. An allocation
 * belongs to a pair of addresses and not to a socket, so the ports are left free again for the load generator, which binds them itself.
 */

import { randomBytes } from 'node:crypto'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { Address } from '../../dist/net/index.js'
import { Attribute, LongTermCredential, Message, MessageWriter, Method } from '../../dist/stun/index.js'

export const LOOPBACK = '127.0.0.1'
export const USER = { username: 'bench', password: 'secret', realm: 'bench.example' }

const REPEAT = 250
const ATTEMPTS = 12
/** REQUESTED-TRANSPORT, RFC 8656 18.7. */
export const UDP = 17 << 24
const FIRST_CHANNEL = 0x4000

/** @type {(host: string, options: unknown, done: (error: null, address: string, family: number) => void) => void} */
export const literal = (host, _options, done) => done(null, host, 4)

/** Out of the way of those that systems give out, and relays too. */
const FIRST_PORT = 10_000
const LAST_PORT = 32_000
/** No port comes again before all have been used: one that was free a moment ago is not somebody else's now. */
let nextPort = FIRST_PORT + Math.floor(Math.random() * (LAST_PORT - FIRST_PORT))

/** @param {number} port */
export async function bound(port) {
  const socket = createSocket({ type: 'udp4', lookup: /** @type {any} */ (literal) })
  const listening = once(socket, 'listening')
  socket.bind(port, LOOPBACK)
  await listening
  return socket
}

/** On the next port that nobody is bound to. */
export async function boundAnywhere() {
  for (;;) {
    const port = nextPort
    nextPort = port === LAST_PORT ? FIRST_PORT : port + 1
    try {
      return await bound(port)
    } catch {
      // Somebody else's.
    }
  }
}

/** @param {number} count @returns {Promise<number[]>} that many different ports nobody is bound to */
export async function freePorts(count) {
  const sockets = await Promise.all(Array.from({ length: count }, boundAnywhere))
  const ports = sockets.map((socket) => socket.address().port)
  await Promise.all(sockets.map((socket) => new Promise((resolve) => socket.close(() => resolve(undefined)))))
  return ports
}

/** The control of one allocation. */
export class TurnClient {
  #server
  #socket
  #credential = new LongTermCredential(USER.username, USER.password)
  #writer = new MessageWriter()
  /** @type {((message: Message) => void) | undefined} */
  #heard

  /** @param {import('node:dgram').Socket} socket @param {number} server its port */
  constructor(socket, server) {
    this.#socket = socket
    this.#server = server
    socket.on('message', (data) => {
      const message = Message.read(data)
      if (message !== undefined) this.#heard?.(message)
    })
  }

  /** @returns {Promise<number>} the relayed port */
  async allocate() {
    const answer = await this.#request(Method.Allocate, (writer) => writer.uint32(Attribute.RequestedTransport, UDP))
    const relayed = answer.address(Attribute.XorRelayedAddress)
    if (relayed === undefined) throw new Error('no XOR-RELAYED-ADDRESS')
    return relayed.port
  }

  /** @param {number} channel @param {number} peer its port */
  async bindChannel(channel, peer) {
    await this.#request(Method.ChannelBind, (writer) =>
      writer.uint32(Attribute.ChannelNumber, channel << 16).address(Attribute.XorPeerAddress, Address.of(LOOPBACK, peer)),
    )
  }

  async free() {
    await this.#request(Method.Refresh, (writer) => writer.uint32(Attribute.Lifetime, 0))
  }

  /** @param {number} method @param {(writer: MessageWriter) => void} write @returns {Promise<Message>} */
  async #request(method, write) {
    for (;;) {
      const writer = this.#writer.start('request', method, randomBytes(12))
      write(writer)
      const attempt = this.#credential.authenticate(writer)
      const answer = await this.#exchange(writer.finish().slice())
      if (answer.class === 'success') return answer
      const reaction = this.#credential.react(answer, attempt)
      if (reaction.kind === 'give-up') throw new Error(`method ${method}: ${reaction.reason}`)
    }
  }

  /** @param {Uint8Array} request @returns {Promise<Message>} */
  #exchange(request) {
    return new Promise((resolve, reject) => {
      let attempts = 0
      const send = () => {
        if (attempts++ === ATTEMPTS) {
          clearInterval(timer)
          reject(new Error('no answer'))
        } else this.#socket.send(request, this.#server, LOOPBACK)
      }
      const timer = setInterval(send, REPEAT)
      const id = request.subarray(8, 20)
      this.#heard = (message) => {
        if (!message.transactionId.every((byte, i) => byte === id[i])) return
        clearInterval(timer)
        this.#heard = undefined
        resolve(message)
      }
      send()
    })
  }
}

/**
 * Allocations with a channel each, as the generator takes flows. @param {readonly number[]} servers ports, in turns
 * @param {number} count @returns {Promise<{ texts: readonly string[], free(): Promise<void> }>}
 */
export async function allocateFlows(servers, count) {
  const peers = await freePorts(count)
  const flows = await Promise.all(
    peers.map(async (peer, i) => {
      const server = servers[i % servers.length] ?? 0
      const channel = FIRST_CHANNEL + i
      const socket = await boundAnywhere()
      const { port } = socket.address()
      const client = new TurnClient(socket, server)
      const relayed = await client.allocate()
      await client.bindChannel(channel, peer)
      await new Promise((resolve) => socket.close(() => resolve(undefined)))
      return { port, server, client, text: `${port}:${server}:${peer}:${relayed}:${channel}` }
    }),
  )
  return {
    texts: flows.map(({ text }) => text),
    free: async () => {
      for (const { port, server } of flows) {
        const socket = await bound(port)
        await new TurnClient(socket, server).free()
        socket.close()
      }
    },
  }
}
