/**
 * A small TURN client on the system's sockets, as simple as tests of a server process need it: one request at a time, no refreshing, Send
 * indications only. Over UDP it asks again, since a worker may be starting.
 */
import { Address, type DatagramSocket, type Stream } from '../../../src/net/index.ts'
import { nodeNetwork } from '../../../src/net/node/index.ts'
import { Attribute, LongTermCredential, Message, MessageWriter, Method } from '../../../src/stun/index.ts'

const network = nodeNetwork()
/** UDP, RFC 8656 14.7. */
const UDP = Uint8Array.of(17, 0, 0, 0)
/** Milliseconds, and times. */
const AGAIN = 500
const TIMES = 20

export interface Answer {
  /** Undefined for success. */
  readonly code: number | undefined
  readonly message: Message
}

export class TurnClient {
  readonly #credential: LongTermCredential
  readonly #waiting = new Map<string, (message: Message) => void>()
  readonly #data: { readonly text: string; readonly from: Address }[] = []
  readonly #hungry: ((datagram: { readonly text: string; readonly from: Address }) => void)[] = []
  #write: (data: Uint8Array) => void = () => {}
  #local: Address | undefined
  close: () => void = () => {}

  private constructor(username: string, password: string) {
    this.#credential = new LongTermCredential(username, password)
  }

  static async udp(server: string, username: string, password: string): Promise<TurnClient> {
    const client = new TurnClient(username, password)
    const to = addressOf(server)
    const socket: DatagramSocket = await network.bind({ family: to.family, ip: to.family === 4 ? '127.0.0.1' : '::1' })
    socket.handle({ datagram: (data) => client.#heard(data), sendFailed: () => {}, drained: () => {}, lost: () => {} })
    client.#write = (data) => void socket.send(data, to)
    client.#local = socket.local
    client.close = () => socket.close()
    return client
  }

  static async stream(server: string, username: string, password: string, tls?: { serverName: string; ca: string }): Promise<TurnClient> {
    const client = new TurnClient(username, password)
    const stream: Stream = await network.streams.dial({ to: addressOf(server), ...(tls === undefined ? {} : { tls }) })
    let buffer = Buffer.alloc(0)
    stream.handle({
      data(chunk) {
        buffer = Buffer.concat([buffer, chunk])
        // No channels here: only STUN messages come.
        while (buffer.length >= 20 && buffer.length >= 20 + buffer.readUInt16BE(2)) {
          const size = 20 + buffer.readUInt16BE(2)
          client.#heard(Uint8Array.from(buffer.subarray(0, size)))
          buffer = buffer.subarray(size)
        }
      },
      drained: () => {},
      closed: () => {},
    })
    client.#write = (data) => void stream.write(data)
    client.#local = stream.local
    client.close = () => stream.destroy()
    return client
  }

  get local(): Address {
    return this.#local as Address
  }

  /** The relayed address, or the code of the refusal. */
  async allocate(): Promise<Address | number> {
    const { code, message } = await this.request(Method.Allocate, (writer) => writer.bytes(Attribute.RequestedTransport, UDP))
    return code ?? (message.address(Attribute.XorRelayedAddress) as Address)
  }

  async permit(peer: Address): Promise<number | undefined> {
    return (await this.request(Method.CreatePermission, (writer) => writer.address(Attribute.XorPeerAddress, peer))).code
  }

  /** With 0 the allocation ends. */
  async refresh(seconds: number): Promise<number | undefined> {
    return (await this.request(Method.Refresh, (writer) => writer.uint32(Attribute.Lifetime, seconds))).code
  }

  send(text: string, peer: Address): void {
    const writer = new MessageWriter().start('indication', Method.Send, network.random.bytes(12))
    this.#write(writer.address(Attribute.XorPeerAddress, peer).bytes(Attribute.Data, new TextEncoder().encode(text)).finish())
  }

  /** The next one that came from a peer, or comes. */
  async receive(): Promise<{ readonly text: string; readonly from: Address }> {
    return this.#data.shift() ?? new Promise((resolve) => this.#hungry.push(resolve))
  }

  /** Authenticated, with the two or three tries that it takes. */
  async request(method: number, fill: (writer: MessageWriter) => void): Promise<Answer> {
    for (;;) {
      const writer = new MessageWriter()
      const id = network.random.bytes(12)
      writer.start('request', method, id)
      fill(writer)
      const attempt = this.#credential.authenticate(writer)
      const message = await this.#exchange(writer.finish(), id)
      if (message.class !== 'error') return { code: undefined, message }
      if (this.#credential.react(message, attempt).kind === 'give-up') return { code: message.errorCode()?.code, message }
    }
  }

  #exchange(data: Uint8Array, id: Uint8Array): Promise<Message> {
    const key = Buffer.from(id).toString('hex')
    return new Promise((resolve, reject) => {
      let sent = 0
      const again = (): void => {
        if (++sent > TIMES) {
          clearInterval(timer)
          reject(new Error('the server does not answer'))
        } else this.#write(data)
      }
      const timer = setInterval(again, AGAIN)
      this.#waiting.set(key, (message) => {
        clearInterval(timer)
        this.#waiting.delete(key)
        resolve(message)
      })
      again()
    })
  }

  #heard(data: Uint8Array): void {
    const message = Message.read(data)
    if (message === undefined) return
    const payload = message.value(Attribute.Data)
    const from = message.address(Attribute.XorPeerAddress)
    if (message.class !== 'indication') this.#waiting.get(Buffer.from(message.transactionId).toString('hex'))?.(message)
    else if (payload !== undefined && from !== undefined) {
      const datagram = { text: new TextDecoder().decode(payload), from }
      const hungry = this.#hungry.shift()
      if (hungry === undefined) this.#data.push(datagram)
      else hungry(datagram)
    }
  }
}

/** A peer on loopback that sends everything back. */
export async function echoPeer(): Promise<DatagramSocket> {
  const socket = await network.bind({ family: 4, ip: '127.0.0.1' })
  socket.handle({ datagram: (data, from) => void socket.send(data, from), sendFailed: () => {}, drained: () => {}, lost: () => {} })
  return socket
}

function addressOf(text: string): Address {
  const colon = text.lastIndexOf(':')
  return Address.of(text.slice(0, colon).replace(/[[\]]/g, ''), Number(text.slice(colon + 1)))
}
