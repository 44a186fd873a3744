/** A TURN client of few words for tests of the relay: it says what it is told to, once, and shows what came back. */
import type { Lab, LabHost } from '../../../src/lab/index.ts'
import type { Address, DatagramSocket, Stream } from '../../../src/net/index.ts'
import { StreamFramer } from '../../../src/relay/stream-framer.ts'
import { type Attempt, Attribute, LongTermCredential, Message, MessageWriter, Method } from '../../../src/stun/index.ts'

export const UDP = 17 << 24

export type Build = (writer: MessageWriter) => unknown

export class TurnClient {
  readonly lab: Lab
  readonly local: Address
  /** All that came and is no response that was waited for. */
  readonly heard: Uint8Array[] = []
  credential: LongTermCredential
  closed = false
  /** The last request, as it was sent. */
  last: Uint8Array = new Uint8Array(0)
  readonly #send: (data: Uint8Array) => void
  readonly #close: () => void
  #id = 0

  private constructor(lab: Lab, local: Address, send: (data: Uint8Array) => void, close: () => void) {
    this.lab = lab
    this.local = local
    this.#send = send
    this.#close = close
    this.credential = new LongTermCredential('alice', 'wonder')
  }

  static async udp(lab: Lab, host: LabHost, server: Address, port = 0): Promise<TurnClient> {
    const ip = host.addresses.find(({ family }) => family === server.family)!.ip
    const socket: DatagramSocket = await host.bind({ family: server.family, ip, port })
    const client = new TurnClient(
      lab,
      socket.local,
      (data) => void socket.send(data, server),
      () => socket.close(),
    )
    socket.handle({ datagram: (data) => client.heard.push(data), sendFailed: () => {}, drained: () => {}, lost: () => {} })
    return client
  }

  static async tcp(lab: Lab, host: LabHost, server: Address): Promise<TurnClient> {
    const stream: Stream = await lab.until(host.streams.dial({ to: server }))
    const client = new TurnClient(
      lab,
      stream.local,
      (data) => void stream.write(data),
      () => stream.end(),
    )
    const framer = new StreamFramer((frame) => client.heard.push(frame), { lastChannel: 0x7ffe })
    stream.handle({
      data: (chunk) => void framer.push(chunk),
      drained: () => {},
      closed: () => {
        client.closed = true
      },
    })
    return client
  }

  /** Bytes as they are. */
  send(data: Uint8Array): void {
    this.#send(data.slice())
  }

  close(): void {
    this.#close()
  }

  /** Writes a request without sending it. Transaction ids count up, so that each is new. */
  write(method: number, build: Build = () => {}, authenticated = true): { data: Uint8Array; attempt: Attempt | undefined } {
    const id = new Uint8Array(12)
    new DataView(id.buffer).setUint32(8, ++this.#id)
    const writer = new MessageWriter().start('request', method, id)
    build(writer)
    const attempt = authenticated ? this.credential.authenticate(writer) : undefined
    return { data: writer.finish().slice(), attempt }
  }

  /** Sends once, and waits a second of the lab's for the response to it; undefined for none. */
  async exchange(data: Uint8Array, wait = 1000): Promise<Message | undefined> {
    const before = this.heard.length
    this.last = data.slice()
    this.send(data)
    await this.lab.run(wait)
    const at = this.heard.findIndex((one, i) => i >= before && sameTransaction(one, data))
    return at < 0 ? undefined : Message.read(this.heard.splice(at, 1)[0]!)
  }

  /** A request with the credentials at hand, and another time when the relay asks for them or for a new nonce. */
  async request(method: number, build: Build = () => {}): Promise<Message> {
    for (let i = 0; i < 3; i++) {
      const { data, attempt } = this.write(method, build)
      const response = await this.exchange(data)
      if (response === undefined) throw new Error('no response')
      if (this.credential.react(response, attempt!).kind !== 'retry') return response
    }
    throw new Error('asked for credentials again and again')
  }

  allocate(build: Build = () => {}): Promise<Message> {
    return this.request(Method.Allocate, (writer) => {
      writer.uint32(Attribute.RequestedTransport, UDP)
      build(writer)
    })
  }

  /** Allocates, and returns the relayed address. */
  async relayed(build: Build = () => {}): Promise<Address> {
    const response = await this.allocate(build)
    const address = response.address(Attribute.XorRelayedAddress)
    if (address === undefined) throw new Error(`no allocation: ${JSON.stringify(response.errorCode())}`)
    return address
  }

  permit(...peers: readonly Address[]): Promise<Message> {
    return this.request(Method.CreatePermission, (writer) => {
      for (const peer of peers) writer.address(Attribute.XorPeerAddress, peer)
    })
  }

  bind(channel: number, peer: Address): Promise<Message> {
    return this.request(Method.ChannelBind, (writer) => {
      writer.uint32(Attribute.ChannelNumber, channel * 0x10000).address(Attribute.XorPeerAddress, peer)
    })
  }

  refresh(seconds: number, build: Build = () => {}): Promise<Message> {
    return this.request(Method.Refresh, (writer) => {
      writer.uint32(Attribute.Lifetime, seconds)
      build(writer)
    })
  }

  /** A Send indication. */
  say(text: string, peer: Address, build: Build = () => {}): void {
    const writer = new MessageWriter().start('indication', Method.Send, new Uint8Array(12).fill(++this.#id))
    writer.address(Attribute.XorPeerAddress, peer).bytes(Attribute.Data, new TextEncoder().encode(text))
    build(writer)
    this.send(writer.finish())
  }

  /** What came from peers and was not taken yet: `channel text` or `address text`. */
  take(): string[] {
    return this.heard.splice(0).map((data) => {
      if ((data[0]! & 0xc0) === 0x40) {
        const length = (data[2]! << 8) | data[3]!
        return `${((data[0]! << 8) | data[1]!).toString(16)} ${textOf(data.subarray(4, 4 + length))}`
      }
      const message = Message.read(data)!
      const payload = message.value(Attribute.Data)
      return `${message.address(Attribute.XorPeerAddress)?.key} ${payload && textOf(payload)}`
    })
  }
}

export function channelData(channel: number, text: string, padded = false): Uint8Array {
  const payload = new TextEncoder().encode(text)
  const data = new Uint8Array(padded ? (4 + payload.length + 3) & ~3 : 4 + payload.length)
  data.set([channel >> 8, channel & 0xff, payload.length >> 8, payload.length & 0xff])
  data.set(payload, 4)
  return data
}

export function textOf(data: Uint8Array): string {
  return new TextDecoder().decode(data)
}

/** The code of an error response, or its class. */
export function codeOf(response: Message | undefined): number | string | undefined {
  return response?.errorCode()?.code ?? response?.class
}

function sameTransaction(a: Uint8Array, b: Uint8Array): boolean {
  return (a[0]! & 0xc0) === 0 && a.subarray(8, 20).every((byte, i) => byte === b[8 + i])
}
