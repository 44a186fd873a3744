/**
 * A TURN server for the client's tests: an honest, small one on a host of the lab, whose every answer a test can replace. It keeps what it was
 * asked, so that tests can look at it.
 */
import type { LabHost } from '../../../src/lab/index.ts'
import type { Address, DatagramSocket, Stream } from '../../../src/net/index.ts'
import { channelOf, channelPayload, encodeChannelData, looksLikeChannelData } from '../../../src/relay/channel-data.ts'
import { StreamFramer } from '../../../src/relay/stream-framer.ts'
import {
  Attribute,
  LongTermVerifier,
  Message,
  MessageWriter,
  Method,
  type PasswordAlgorithm,
  type Verdict,
} from '../../../src/stun/index.ts'

export interface Asked {
  readonly at: number
  readonly transport: 'udp' | 'tcp'
  readonly client: Address
  readonly method: number
  readonly message: Message
  readonly authenticated: boolean
}

/** What to do about a request, instead of what an honest server does. */
export type Reply =
  | 'honest'
  | 'silence'
  | {
      readonly code: number
      /** Further attributes, before the integrity. */
      readonly write?: (writer: MessageWriter) => void
      /** The integrity is left out, as some servers do. */
      readonly unproven?: boolean
    }
  | { readonly success: (writer: MessageWriter) => void; readonly unproven?: boolean }

export interface FakeServerOptions {
  readonly port?: number
  readonly transports?: readonly ('udp' | 'tcp')[]
  readonly family?: 4 | 6
  readonly users?: Readonly<Record<string, string>>
  readonly algorithms?: readonly PasswordAlgorithm[]
  /** Milliseconds; 600,000 by default. */
  readonly nonceLifetime?: number
  readonly lifetimeSeconds?: number
}

interface FakeAllocation {
  readonly username: string
  readonly client: Client
  readonly relayed: Address
  readonly socket: DatagramSocket
  readonly sockets: readonly DatagramSocket[]
  readonly permissions: Set<string>
  readonly channels: Map<number, Address>
}

interface Client {
  readonly transport: 'udp' | 'tcp'
  readonly address: Address
  readonly send: (data: Uint8Array) => void
}

export class FakeServer {
  readonly host: LabHost
  readonly address: Address
  readonly asked: Asked[] = []
  /** ChannelData and Send indications that came, in order. */
  readonly relayedOut: ('channel' | 'indication')[] = []
  readonly allocations: Map<string, FakeAllocation> = new Map()
  /** That are open. */
  readonly streams: Set<Stream> = new Set()
  script: (asked: Asked) => Reply = () => 'honest'
  /** Bytes that each write to a stream has; frames are cut, or several go in one, as it comes. Whole frames by default. */
  cut: number | undefined
  readonly #options: FakeServerOptions
  #verifier: LongTermVerifier
  #secret = 1

  private constructor(host: LabHost, address: Address, options: FakeServerOptions) {
    this.host = host
    this.address = address
    this.#options = options
    this.#verifier = this.#newVerifier()
  }

  static async open(host: LabHost, options: FakeServerOptions = {}): Promise<FakeServer> {
    const { port = 3478, transports = ['udp'], family = 4 } = options
    const address = host.addresses.find((one) => one.family === family)!.withPort(port)
    const server = new FakeServer(host, address, options)
    if (transports.includes('udp')) {
      const socket = await host.bind({ family, port })
      socket.handle({
        datagram: (data, from) => server.#received(data, { transport: 'udp', address: from, send: (out) => void socket.send(out, from) }),
        sendFailed: () => {},
        drained: () => {},
        lost: () => {},
      })
    }
    if (transports.includes('tcp')) await host.listen({ family, port }, (stream) => server.#accept(stream))
    return server
  }

  asks(method: number): Asked[] {
    return this.asked.filter((one) => one.method === method)
  }

  /** Those that were under a good nonce and the right password. */
  authentic(method: number): Asked[] {
    return this.asks(method).filter(({ authenticated }) => authenticated)
  }

  /** Of the authentic ChannelBind requests. */
  get channelNumbers(): number[] {
    return this.authentic(Method.ChannelBind).map(({ message }) => message.uint32(Attribute.ChannelNumber)! >>> 16)
  }

  /** Everything is forgotten, as when the process starts anew. */
  restart(): void {
    for (const allocation of this.allocations.values()) for (const socket of allocation.sockets) socket.close()
    this.allocations.clear()
    this.#secret++
    this.#verifier = this.#newVerifier()
    for (const stream of this.streams) stream.destroy()
  }

  /** All nonces are stale from now on. */
  expireNonces(): void {
    this.#secret++
    this.#verifier = this.#newVerifier()
  }

  /** To the client of the only allocation, as it is. */
  inject(data: Uint8Array): void {
    for (const { client } of this.allocations.values()) client.send(data)
  }

  #newVerifier(): LongTermVerifier {
    const { users = { alice: 'wonder' }, algorithms = [], nonceLifetime = 600_000 } = this.#options
    return new LongTermVerifier({
      realm: 'fake.example',
      secret: new Uint8Array(32).fill(this.#secret),
      password: (name) => (Object.hasOwn(users, name) ? users[name] : undefined),
      algorithms,
      nonceLifetime,
    })
  }

  #accept(stream: Stream): void {
    this.streams.add(stream)
    const pieces = new Pieces(stream)
    const client: Client = {
      transport: 'tcp',
      address: stream.remote,
      send: (data) => {
        if (this.cut === undefined) stream.write(data)
        else pieces.write(data, this.cut)
      },
    }
    const framer = new StreamFramer((data) => this.#received(data, client))
    stream.handle({
      data: (chunk) => void framer.push(chunk),
      drained: () => {},
      closed: () => {
        this.streams.delete(stream)
        this.#delete(keyOf(client))
      },
    })
  }

  #received(data: Uint8Array, client: Client): void {
    if (looksLikeChannelData(data)) {
      this.relayedOut.push('channel')
      const allocation = this.allocations.get(keyOf(client))
      const to = allocation?.channels.get(channelOf(data))
      const payload = channelPayload(data)
      if (to !== undefined && payload !== undefined) allocation?.socket.send(payload, to)
      return
    }
    const message = Message.read(data)
    if (message === undefined) return
    if (message.class === 'indication') this.#indicated(message, client)
    else if (message.class === 'request') this.#requested(message, client)
  }

  #indicated(message: Message, client: Client): void {
    this.relayedOut.push('indication')
    const allocation = this.allocations.get(keyOf(client))
    const to = message.address(Attribute.XorPeerAddress)
    const payload = message.value(Attribute.Data)
    if (to !== undefined && payload !== undefined && allocation?.permissions.has(to.ip) === true) allocation.socket.send(payload, to)
  }

  #requested(message: Message, client: Client): void {
    const now = this.host.clock.now()
    const verdict = this.#verifier.verify(message, client.address, now)
    const asked = {
      at: now,
      transport: client.transport,
      client: client.address,
      method: message.method,
      message,
      authenticated: verdict.kind === 'accepted',
    }
    this.asked.push(asked)
    const reply = this.script(asked)
    if (reply === 'silence') return
    if (reply === 'honest') void this.#honest(message, client, verdict, now)
    else if ('code' in reply) {
      this.#answer('error', message, client, reply.unproven === true ? undefined : verdict, (writer) => {
        writer.errorCode(reply.code, 'scripted')
        reply.write?.(writer)
      })
    } else this.#answer('success', message, client, reply.unproven === true ? undefined : verdict, reply.success)
  }

  async #honest(message: Message, client: Client, verdict: Verdict, now: number): Promise<void> {
    if (verdict.kind === 'rejected') {
      const writer = new MessageWriter().start('error', message.method, message.transactionId)
      this.#verifier.writeRejection(writer, verdict, client.address, now)
      client.send(writer.fingerprint().finish())
      return
    }
    const fail = (code: number): void => this.#answer('error', message, client, verdict, (writer) => void writer.errorCode(code, ''))
    const allocation = this.allocations.get(keyOf(client))
    if (message.method === Method.Allocate) {
      if (allocation !== undefined) {
        // The same request again is answered the same (RFC 8656 7.2); here nobody looks closer.
        fail(437)
        return
      }
      await this.#allocate(message, client, verdict)
      return
    }
    if (allocation === undefined) {
      fail(437)
      return
    }
    if (allocation.username !== verdict.username) {
      fail(441)
      return
    }
    const peers = message.addresses(Attribute.XorPeerAddress)
    if (message.method === Method.Refresh) {
      const seconds = message.uint32(Attribute.Lifetime) === 0 ? 0 : (this.#options.lifetimeSeconds ?? 600)
      if (seconds === 0) this.#delete(keyOf(client))
      this.#answer('success', message, client, verdict, (writer) => void writer.uint32(Attribute.Lifetime, seconds))
    } else if (message.method === Method.CreatePermission) {
      for (const { ip } of peers) allocation.permissions.add(ip)
      this.#answer('success', message, client, verdict, () => {})
    } else if (message.method === Method.ChannelBind) {
      const number = (message.uint32(Attribute.ChannelNumber) ?? 0) >>> 16
      const [peer] = peers
      const other = [...allocation.channels].find(([channel, to]) => (channel === number) !== (to.key === peer?.key))
      if (peer === undefined || other !== undefined) {
        fail(400)
        return
      }
      allocation.channels.set(number, peer)
      allocation.permissions.add(peer.ip)
      this.#answer('success', message, client, verdict, () => {})
    }
  }

  async #allocate(message: Message, client: Client, verdict: Verdict & { readonly kind: 'accepted' }): Promise<void> {
    const six = message.uint32(Attribute.RequestedAddressFamily) === 0x0200_0000
    const both = message.uint32(Attribute.AdditionalAddressFamily) === 0x0200_0000
    const families = both ? ([4, 6] as const) : six ? ([6] as const) : ([4] as const)
    const sockets = await Promise.all(families.map((family) => this.host.bind({ family })))
    const relayed = sockets.map(({ local }) => {
      return this.host.addresses.find(({ family }) => family === local.family)!.withPort(local.port)
    })
    const allocation: FakeAllocation = {
      username: verdict.username,
      client,
      relayed: relayed[0]!,
      socket: sockets[0]!,
      sockets,
      permissions: new Set(),
      channels: new Map(),
    }
    for (const socket of sockets) {
      socket.handle({
        datagram: (data, from) => this.#fromPeer(allocation, data, from),
        sendFailed: () => {},
        drained: () => {},
        lost: () => {},
      })
    }
    this.allocations.set(keyOf(client), allocation)
    this.#answer('success', message, client, verdict, (writer) => {
      for (const address of relayed) writer.address(Attribute.XorRelayedAddress, address)
      writer.address(Attribute.XorMappedAddress, client.address).uint32(Attribute.Lifetime, this.#options.lifetimeSeconds ?? 600)
    })
  }

  #fromPeer({ client, permissions, channels }: FakeAllocation, data: Uint8Array, from: Address): void {
    if (!permissions.has(from.ip)) return
    const channel = [...channels].find(([, to]) => to.key === from.key)?.[0]
    if (channel !== undefined) {
      client.send(encodeChannelData(channel, data, client.transport === 'tcp'))
      return
    }
    const writer = new MessageWriter().start('indication', Method.Data, this.host.random.bytes(12))
    client.send(writer.address(Attribute.XorPeerAddress, from).bytes(Attribute.Data, data).finish())
  }

  #answer(
    kind: 'success' | 'error',
    { method, transactionId }: Message,
    client: Client,
    verdict: Verdict | undefined,
    write: (writer: MessageWriter) => void,
  ): void {
    const writer = new MessageWriter().start(kind, method, transactionId)
    write(writer)
    if (verdict?.kind === 'accepted') this.#verifier.authenticate(writer, verdict)
    client.send(writer.finish())
  }

  #delete(key: string): void {
    for (const socket of this.allocations.get(key)?.sockets ?? []) socket.close()
    this.allocations.delete(key)
  }
}

/** A stream of writes of one size; what is left over goes with what comes in the same turn, or at its end. */
class Pieces {
  readonly #stream: Stream
  #held: Uint8Array = new Uint8Array(0)

  constructor(stream: Stream) {
    this.#stream = stream
  }

  write(data: Uint8Array, size: number): void {
    this.#held = Uint8Array.of(...this.#held, ...data)
    for (; this.#held.length >= size; this.#held = this.#held.subarray(size)) this.#stream.write(this.#held.subarray(0, size))
    if (this.#held.length === 0) return
    queueMicrotask(() => {
      if (this.#held.length > 0) this.#stream.write(this.#held)
      this.#held = new Uint8Array(0)
    })
  }
}

function keyOf({ transport, address }: Client): string {
  return `${transport} ${address.key}`
}
