/**
 * TCP and TLS clients (RFC 8656 3.1): frames of their streams, and a bound on connections that do not prove themselves. What a client does not
 * read is dropped, not kept: relayed data is datagrams, and late ones are worth nothing.
 */
import { Address, type Stream, type StreamHandler, type Timer, type Timers } from '../../net/index.ts'
import { encodeChannelData, LAST_OLD_CHANNEL } from '../channel-data.ts'
import { StreamFramer } from '../stream-framer.ts'
import { dataIndicationLength, writeDataIndication } from './indications.ts'
import { Link } from './link.ts'
import type { Requests } from './requests.ts'
import type { Counters } from './status.ts'
import { sourceOf } from './strangers.ts'
import type { TransactionIds } from './transaction-ids.ts'

/** Bytes of answers for a client that does not read them, above which it is disconnected. */
const MOST_UNREAD = 65_536

/** No behaviour tests over a stream: RFC 5780 has them for UDP. */
const ONE_SOCKET = [Address.any(4)]

/** Bytes of a frame that has begun and not ended, while there is no allocation. */
const LONGEST_OF_STRANGERS = 4096

export interface StreamLimits {
  /** Connections without an allocation, in all and from one source. */
  readonly strangers: number
  readonly strangersPerSource: number
  /** Milliseconds that such a one has to get one. */
  readonly patience: number
}

export interface StreamClientsOptions {
  readonly requests: Requests
  readonly counters: Counters
  readonly timers: Timers
  readonly ids: TransactionIds
  readonly limits: StreamLimits
}

/** All connections of a relay. */
export class StreamClients {
  readonly options: StreamClientsOptions
  readonly #links = new Set<StreamLink>()
  /** Those without an allocation, the longest there first. */
  readonly #strangers = new Set<StreamLink>()
  readonly #strangersBySource = new Map<string, number>()
  #closed = false

  constructor(options: StreamClientsOptions) {
    this.options = options
  }

  get size(): number {
    return this.#links.size
  }

  accept(stream: Stream, transport: 'tcp' | 'tls'): void {
    const { limits, counters } = this.options
    const source = sourceOf(stream.remote)
    if (this.#closed || (this.#strangersBySource.get(source) ?? 0) >= limits.strangersPerSource) {
      counters.connectionsRefused++
      stream.destroy()
      return
    }
    if (this.#strangers.size >= limits.strangers) {
      // Rather the one that had the most time: those who hold connections open must not keep out those who come.
      const [oldest] = this.#strangers
      counters.connectionsRefused++
      oldest?.destroy()
    }
    const link = new StreamLink(stream, transport, source, this)
    this.#links.add(link)
    link.start()
  }

  /** It has no allocation, or none any more. */
  estrange(link: StreamLink): void {
    if (this.#strangers.has(link) || !this.#links.has(link)) return
    this.#strangers.add(link)
    this.#strangersBySource.set(link.source, (this.#strangersBySource.get(link.source) ?? 0) + 1)
  }

  /** It has one. */
  befriend(link: StreamLink): void {
    if (!this.#strangers.delete(link)) return
    const left = (this.#strangersBySource.get(link.source) ?? 1) - 1
    if (left === 0) this.#strangersBySource.delete(link.source)
    else this.#strangersBySource.set(link.source, left)
  }

  forget(link: StreamLink): void {
    this.befriend(link)
    this.#links.delete(link)
  }

  close(): void {
    this.#closed = true
    for (const link of [...this.#links]) link.destroy()
  }
}

class StreamLink extends Link implements StreamHandler {
  readonly source: string
  readonly #stream: Stream
  readonly #clients: StreamClients
  readonly #framer: StreamFramer
  #timer: Timer | undefined
  #full = false
  /** Bytes of answers written since the stream was full. */
  #unread = 0

  constructor(stream: Stream, transport: 'tcp' | 'tls', source: string, clients: StreamClients) {
    super(stream.remote, transport)
    this.source = source
    this.#stream = stream
    this.#clients = clients
    this.#framer = new StreamFramer((frame) => this.#frame(frame), { lastChannel: LAST_OLD_CHANNEL })
  }

  start(): void {
    this.forget()
    this.#stream.handle(this)
  }

  data(chunk: Uint8Array): void {
    if (this.gone) return
    const framed = this.#framer.push(chunk)
    if (this.gone || (framed && (this.allocation !== undefined || this.#framer.pending <= LONGEST_OF_STRANGERS))) return
    // Where the next frame begins is not known any more, or it is larger than anything that a stranger has to say.
    this.#clients.options.counters.ignored.malformed++
    this.destroy()
  }

  drained(): void {
    this.#full = false
    this.#unread = 0
  }

  closed(): void {
    this.#leave()
  }

  again(data: Uint8Array): void {
    this.#frame(data)
  }

  reply(message: Uint8Array): void {
    if (this.gone) return
    if (this.#full) {
      this.#unread += message.length
      if (this.#unread > MOST_UNREAD) {
        this.destroy()
        return
      }
    }
    this.#write(message)
  }

  channelData(channel: number, payload: Uint8Array): boolean {
    if (this.#full || this.gone) return false
    this.#write(encodeChannelData(channel, payload, true))
    return true
  }

  indication(peer: Address, payload: Uint8Array): boolean {
    if (this.#full || this.gone) return false
    const data = new Uint8Array(dataIndicationLength(peer, payload.length))
    writeDataIndication(data, this.#clients.options.ids.next(), peer, payload)
    this.#write(data)
    return true
  }

  disconnect(): void {
    this.destroy()
  }

  /** Only an allocation makes it more than a stranger. */
  keep(): void {
    if (this.allocation === undefined) return
    this.refusals = 0
    this.#timer?.cancel()
    this.#timer = undefined
    this.#clients.befriend(this)
  }

  forget(): void {
    if (this.gone || this.#timer !== undefined) return
    const { timers, limits } = this.#clients.options
    this.#clients.estrange(this)
    this.#timer = timers.after(limits.patience, () => this.destroy())
  }

  /** Closes it at once, with its allocation. Idempotent. */
  destroy(): void {
    this.#stream.destroy()
    this.#leave()
  }

  #leave(): void {
    if (this.gone) return
    this.gone = true
    this.#timer?.cancel()
    this.#framer.close()
    this.#clients.forget(this)
    this.allocation?.end('disconnected')
  }

  #write(data: Uint8Array): void {
    if (!this.#stream.write(data)) this.#full = true
  }

  #frame(frame: Uint8Array): void {
    const { requests } = this.#clients.options
    if (frame[0] !== 0 || frame[1] !== 1) requests.datagram(frame, this)
    else {
      // Nobody's address is forged here, and there is one socket to answer by.
      const reply = requests.binding(frame, this.client, ONE_SOCKET, 0, false)
      if (reply !== undefined) this.reply(reply.data)
    }
  }
}
