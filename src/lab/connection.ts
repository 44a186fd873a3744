/** One TCP connection of a virtual host, from either end: numbers, acknowledgements, retransmission with back-off, end and reset. */
import type { Address, Clock, SendFailure, Stream, StreamHandler, Timer } from '../net/index.ts'
import { Packet, type TcpHeader } from './packet.ts'

const SEGMENT = 1400
/** Segments under way at once. */
const WINDOW = 64
/** Bytes queued from which `write` returns false. */
const HIGH_WATER = 65_536
/** Milliseconds to the first retransmission of a SYN (RFC 6298 2.1), and the least for anything else (Linux's); doubled each time. */
const SYN_TIMEOUT = 1000
const DATA_TIMEOUT = 200
/** After so many in vain the other side is taken for dead: 15 s for a SYN, about 25 s for data. */
const SYN_TRIES = 4
const DATA_TRIES = 7

export interface ConnectionHost {
  readonly clock: Clock
  send(packet: Packet): SendFailure | undefined
}

interface Outgoing {
  readonly sequence: number
  readonly data: Uint8Array
  readonly kind: 'syn' | 'data' | 'fin'
}

export class Connection implements Stream {
  readonly local: Address
  readonly remote: Address
  readonly #host: ConnectionHost
  readonly #forget: () => void
  #handler: StreamHandler | undefined
  /** Sent and to be sent, oldest first. */
  readonly #queue: Outgoing[] = []
  #sent = 0
  #nextSequence = 0
  #queuedBytes = 0
  #full = false
  #timer: Timer | undefined
  #tries = 0
  #timeout = SYN_TIMEOUT
  #startedAt = 0
  /** Next byte expected; undefined until the other side has spoken. */
  #expected: number | undefined
  readonly #ahead = new Map<number, Packet>()
  #established: ((cause?: Error) => void) | undefined
  #open = false
  /** Our end is queued or sent; acknowledged; the other side's end has come. */
  #ending = false
  #endAcknowledged = false
  #endReceived = false
  #over = false
  /** What came before there was a handler. */
  #early: Uint8Array[] = []
  #end: { readonly reason: Error | undefined } | undefined

  constructor(host: ConnectionHost, local: Address, remote: Address, forget: () => void) {
    this.#host = host
    this.local = local
    this.remote = remote
    this.#forget = forget
  }

  /** Starts from this side; `established` is called once. */
  connect(established: (cause?: Error) => void): void {
    this.#established = established
    this.#startedAt = this.#host.clock.now()
    this.#enqueue('syn', new Uint8Array(0))
  }

  /** Answers a SYN. */
  accept(syn: Packet, accepted: (stream: Stream) => void): void {
    this.#expected = (syn.tcp as TcpHeader).sequence + 1
    this.#established = (cause) => {
      if (cause === undefined) accepted(this)
    }
    this.#startedAt = this.#host.clock.now()
    this.#enqueue('syn', new Uint8Array(0))
  }

  handle(handler: StreamHandler): void {
    this.#handler = handler
    if (this.#early.length > 0 || this.#end !== undefined) this.#soon(() => this.#catchUp())
  }

  write(chunk: Uint8Array): boolean {
    if (this.#over || this.#ending) return true
    for (let i = 0; i < chunk.length; i += SEGMENT) this.#enqueue('data', new Uint8Array(chunk.subarray(i, i + SEGMENT)))
    this.#full = this.#queuedBytes >= HIGH_WATER
    return !this.#full
  }

  end(): void {
    if (this.#over || this.#ending) return
    this.#ending = true
    this.#enqueue('fin', new Uint8Array(0))
  }

  destroy(): void {
    if (this.#over) return
    this.#transmit({ rst: true, sequence: this.#nextSequence, ...this.#ack() })
    this.#finish(undefined)
  }

  /** Ends with an error and without a word to the other side. */
  fail(reason: Error): void {
    if (!this.#over) this.#finish(reason)
  }

  receive(packet: Packet): void {
    const tcp = packet.tcp as TcpHeader
    if (tcp.rst === true) {
      // A reset in answer to our own end is only the other side having forgotten us first.
      this.#finish(this.#ending && this.#open ? undefined : failure(this.#open ? 'ECONNRESET' : 'ECONNREFUSED'))
      return
    }
    if (tcp.syn === true) {
      const first = this.#queue[0]
      if (this.#expected !== undefined && first?.kind === 'syn') {
        // our answer to it was lost
        this.#put(first)
        return
      }
      this.#expected = this.#expected ?? tcp.sequence + 1
      this.#acknowledge()
    }
    if (tcp.acknowledged !== undefined) this.#acknowledged(tcp.acknowledged)
    if (this.#over || tcp.syn === true || this.#expected === undefined) return
    if (packet.data.length === 0 && tcp.fin !== true) return
    if (tcp.sequence >= this.#expected) this.#ahead.set(tcp.sequence, packet)
    this.#readInOrder()
  }

  #readInOrder(): void {
    let ended = false
    for (let next = this.#ahead.get(this.#expected as number); next !== undefined; next = this.#ahead.get(this.#expected as number)) {
      this.#ahead.delete(this.#expected as number)
      const length = next.data.length
      this.#expected = (this.#expected as number) + length + (next.tcp?.fin === true ? 1 : 0)
      if (length > 0) {
        if (this.#handler === undefined) this.#early.push(next.data)
        else this.#handler.data(next.data)
        if (this.#over) return
      }
      if (next.tcp?.fin === true) ended = true
    }
    this.#acknowledge()
    if (!ended) return
    // The other side has ended: what is queued here still goes out, then this side ends too.
    this.#endReceived = true
    this.end()
    if (this.#endAcknowledged) this.#finish(undefined)
  }

  #acknowledged(number: number): void {
    let progress = false
    for (let first = this.#queue[0]; first !== undefined && first.sequence < number; first = this.#queue[0]) {
      this.#queue.shift()
      this.#sent--
      this.#queuedBytes -= first.data.length
      progress = true
      if (first.kind === 'syn') this.#stand()
      if (first.kind === 'fin') this.#endAcknowledged = true
    }
    if (!progress || this.#over) return
    this.#tries = 0
    this.#disarm()
    if (this.#endAcknowledged && this.#endReceived) {
      this.#finish(undefined)
      return
    }
    this.#fill()
    if (this.#full && this.#queuedBytes < HIGH_WATER / 2) {
      this.#full = false
      this.#handler?.drained()
    }
  }

  #stand(): void {
    this.#open = true
    this.#timeout = Math.max(DATA_TIMEOUT, 2 * (this.#host.clock.now() - this.#startedAt))
    const established = this.#established
    this.#established = undefined
    established?.()
  }

  #enqueue(kind: Outgoing['kind'], data: Uint8Array): void {
    this.#queue.push({ kind, data, sequence: this.#nextSequence })
    this.#nextSequence += kind === 'data' ? data.length : 1
    this.#queuedBytes += data.length
    this.#fill()
  }

  #fill(): void {
    if (this.#over) return
    // Nothing but the SYN goes out before it is answered.
    const window = this.#open ? WINDOW : 1
    while (this.#sent < this.#queue.length && this.#sent < window) this.#put(this.#queue[this.#sent++] as Outgoing)
    if (this.#queue.length > 0 && this.#timer === undefined) this.#arm()
  }

  #put({ kind, data, sequence }: Outgoing): void {
    this.#transmit({ syn: kind === 'syn', fin: kind === 'fin', sequence, ...this.#ack() }, data)
  }

  #arm(): void {
    const { clock } = this.#host
    this.#timer = clock.wake(clock.now() + this.#timeout * 2 ** this.#tries, () => this.#expire())
  }

  #disarm(): void {
    this.#timer?.cancel()
    this.#timer = undefined
  }

  #expire(): void {
    this.#timer = undefined
    if (++this.#tries >= (this.#open ? DATA_TRIES : SYN_TRIES)) {
      this.#finish(failure('ETIMEDOUT'))
      return
    }
    // Only the oldest: the acknowledgement of it tells what else is missing.
    this.#put(this.#queue[0] as Outgoing)
    this.#arm()
  }

  #acknowledge(): void {
    this.#transmit({ sequence: this.#nextSequence, ...this.#ack() })
  }

  #ack(): { acknowledged?: number } {
    return this.#expected === undefined ? {} : { acknowledged: this.#expected }
  }

  #transmit(header: TcpHeader, data: Uint8Array = new Uint8Array(0)): void {
    // A copy: a segment may be on its way twice, and the receiver owns what it gets.
    this.#host.send(new Packet('tcp', this.local, this.remote, data.slice(), 64, header))
  }

  #finish(reason: Error | undefined): void {
    if (this.#over) return
    this.#over = true
    this.#disarm()
    this.#queue.length = 0
    this.#forget()
    const established = this.#established
    this.#established = undefined
    if (established !== undefined) this.#soon(() => established(reason ?? failure('ECONNABORTED')))
    else this.#report(reason)
  }

  /** Tells the handler, once, that it is over. */
  #report(reason: Error | undefined): void {
    if (this.#end !== undefined) return
    this.#end = { reason }
    if (this.#handler !== undefined) this.#soon(() => this.#handler?.closed(reason))
  }

  #catchUp(): void {
    for (const chunk of this.#early.splice(0)) this.#handler?.data(chunk)
    if (this.#end !== undefined) this.#handler?.closed(this.#end.reason)
  }

  #soon(callback: () => void): void {
    this.#host.clock.wake(this.#host.clock.now(), callback)
  }
}

/** An error as the operating system words it. */
export function failure(code: string): Error {
  return Object.assign(new Error(code), { code })
}
