/**
 * TCP for virtual hosts, as far as applications can tell: handshake, order, retransmission, end, reset, refusal, and death by silence.
 * It sends real packets through the lab, so NATs, firewalls and losses act on it (RFC 9293 in outline). Not here: congestion control,
 * flow control by window, half-open ends, TLS: a dial or a listener with `tls` gets the bytes as they are. One connection's life is in
 * connection.ts.
 */
import { SallyportError } from '../errors.ts'
import type { Address, Clock, DialOptions, SendFailure, Stream, StreamListener } from '../net/index.ts'
import { Connection, failure } from './connection.ts'
import { Packet } from './packet.ts'
import type { SeededRandom } from './random.ts'

/** What TCP needs of its host. */
export interface TcpHost {
  readonly clock: Clock
  readonly random: SeededRandom
  send(packet: Packet): SendFailure | undefined
  /** The source address for a destination, port 0 unless `from`, one of the host's own, has one. */
  source(to: Address, from: Address | undefined): Address | SendFailure
}

interface Listening {
  readonly local: Address
  readonly accept: (stream: Stream) => void
}

export class TcpStack {
  readonly #host: TcpHost
  readonly #connections = new Map<string, Connection>()
  readonly #listening: Listening[] = []
  /** Ports of outgoing connections. */
  readonly #used = new Set<number>()

  constructor(host: TcpHost) {
    this.#host = host
  }

  free(local: Address): boolean {
    return !this.#listening.some((one) => {
      const clash = one.local.ip === local.ip || one.local.scope === 'unspecified' || local.scope === 'unspecified'
      return one.local.family === local.family && one.local.port === local.port && clash
    })
  }

  listen(local: Address, accept: (stream: Stream) => void): StreamListener {
    const listening = { local, accept }
    this.#listening.push(listening)
    const close = (): void => {
      const index = this.#listening.indexOf(listening)
      if (index >= 0) this.#listening.splice(index, 1)
    }
    return { local, renew: () => {}, close }
  }

  dial({ to, from, signal }: DialOptions): Promise<Stream> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted === true) return reject(signal.reason)
      const source = this.#host.source(to, from)
      if (typeof source === 'string') return reject(dialError(to, failure(source)))
      if (source.port !== 0 && this.#connections.has(flowKey(source, to))) return reject(dialError(to, failure('EADDRINUSE')))
      const connection = this.#open(source.port === 0 ? this.#local(source) : source, to)
      const aborted = (): void => {
        connection.destroy()
        reject(signal?.reason)
      }
      signal?.addEventListener('abort', aborted, { once: true })
      connection.connect((cause) => {
        signal?.removeEventListener('abort', aborted)
        if (cause === undefined) resolve(connection)
        else reject(dialError(to, cause))
      })
    })
  }

  arrive(packet: Packet): void {
    const connection = this.#connections.get(flowKey(packet.to, packet.from))
    if (connection !== undefined) {
      connection.receive(packet)
      return
    }
    const tcp = packet.tcp
    if (tcp === undefined || tcp.rst === true) return
    const listening = this.#listening.find(({ local }) => {
      return (
        local.port === packet.to.port && (local.ip === packet.to.ip || (local.scope === 'unspecified' && local.family === packet.to.family))
      )
    })
    if (listening !== undefined && tcp.syn === true && tcp.acknowledged === undefined) {
      const accepted = this.#open(packet.to, packet.from)
      accepted.accept(packet, listening.accept)
      return
    }
    // RFC 9293 3.10.7.1: a segment for a connection that does not exist is answered by a reset.
    const rst = { rst: true, sequence: tcp.acknowledged ?? 0, acknowledged: tcp.sequence + packet.data.length + 1 }
    this.#host.send(new Packet('tcp', packet.to, packet.from, new Uint8Array(0), 64, rst))
  }

  /** Addresses that the host has no more: what used them is cut off. */
  lose(gone: ReadonlySet<string>): void {
    for (const connection of [...this.#connections.values()]) {
      if (gone.has(connection.local.ip)) connection.fail(failure('ENETDOWN'))
    }
    for (let i = this.#listening.length - 1; i >= 0; i--)
      if (gone.has((this.#listening[i] as Listening).local.ip)) this.#listening.splice(i, 1)
  }

  #open(local: Address, remote: Address): Connection {
    const key = flowKey(local, remote)
    const connection = new Connection(this.#host, local, remote, () => {
      if (this.#connections.get(key) === connection) this.#connections.delete(key)
      this.#used.delete(local.port)
    })
    this.#connections.set(key, connection)
    return connection
  }

  #local(source: Address): Address {
    for (;;) {
      const candidate = source.withPort(32_768 + this.#host.random.below(28_232))
      if (this.#used.has(candidate.port) || !this.free(candidate)) continue
      this.#used.add(candidate.port)
      return candidate
    }
  }
}

function dialError(to: Address, cause: Error): SallyportError {
  return new SallyportError('ERR_DIAL', `no connection to ${to}: ${cause.message}`, { cause })
}

function flowKey(local: Address, remote: Address): string {
  return `${local.key} ${remote.key}`
}
