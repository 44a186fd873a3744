/** What happened: counters of every host and router, always; every packet's way, while recording. */
import type { Address } from '../net/index.ts'
import { EPOCH, type Scheduler } from './clock.ts'
import type { DropReason, Packet, Protocol, TcpHeader } from './packet.ts'
import { encodePcapng } from './pcapng.ts'

export interface Counters {
  /** Packets that the device itself sent. */
  sent: number
  /** Packets that reached a socket of the device. */
  received: number
  /** Packets that a router passed on. */
  forwarded: number
  /** Packets dropped at, or on the link of, the device. */
  dropped: number
  readonly drops: Partial<Record<DropReason, number>>
}

export type TraceEvent = 'send' | 'receive' | 'forward' | 'drop'

export interface TraceRecord {
  /** Virtual milliseconds. */
  readonly time: number
  /** Name of the host or router. */
  readonly at: string
  readonly event: TraceEvent
  readonly protocol: Protocol
  /** As the packet is after the device has handled it. */
  readonly from: Address
  readonly to: Address
  readonly hops: number
  readonly data: Uint8Array
  readonly tcp: TcpHeader | undefined
  /** Why it was dropped. */
  readonly reason: DropReason | undefined
}

interface Counted {
  readonly name: string
  readonly counters: Counters
}

function newCounters(): Counters {
  return { sent: 0, received: 0, forwarded: 0, dropped: 0, drops: {} }
}

export class Trace {
  readonly #scheduler: Scheduler
  readonly #counters = new Map<string, Counters>()
  #records: TraceRecord[] = []
  #recording = false

  /** @internal */
  constructor(scheduler: Scheduler) {
    this.#scheduler = scheduler
  }

  get recording(): boolean {
    return this.#recording
  }

  /** Records every packet from now on, in memory. */
  start(): void {
    this.#recording = true
  }

  stop(): void {
    this.#recording = false
  }

  /** Forgets what was recorded; the counters stay. */
  clear(): void {
    this.#records = []
  }

  get records(): readonly TraceRecord[] {
    return this.#records
  }

  /** Counters of one host or router by its name, live. @throws RangeError when there is none of this name */
  counters(name: string): Readonly<Counters> {
    const counters = this.#counters.get(name)
    if (counters === undefined) throw new RangeError(`no host or router is called ${name}`)
    return counters
  }

  /** Packets dropped anywhere, by reason. */
  drops(): Partial<Record<DropReason, number>> {
    const total: Partial<Record<DropReason, number>> = {}
    for (const { drops } of this.#counters.values()) {
      for (const [reason, count] of Object.entries(drops)) total[reason as DropReason] = (total[reason as DropReason] ?? 0) + count
    }
    return total
  }

  /** One line per record. */
  text(): string {
    return this.#records.map((record) => `${line(record)}\n`).join('')
  }

  /** The recording as a pcapng file, for Wireshark: one interface per host and router, the reason of a drop as a comment. */
  pcapng(): Uint8Array {
    return encodePcapng(this.#records, EPOCH)
  }

  /** @internal */
  register(name: string): Counters {
    if (this.#counters.has(name)) throw new RangeError(`the name ${name} is taken`)
    const counters = newCounters()
    this.#counters.set(name, counters)
    return counters
  }

  /** @internal */
  note(device: Counted, packet: Packet, event: 'send' | 'receive' | 'forward'): void {
    if (event === 'send') device.counters.sent++
    else if (event === 'receive') device.counters.received++
    else device.counters.forwarded++
    if (this.#recording) this.#record(device, packet, event, undefined)
  }

  /** @internal */
  drop(device: Counted, packet: Packet, reason: DropReason): void {
    const { counters } = device
    counters.dropped++
    counters.drops[reason] = (counters.drops[reason] ?? 0) + 1
    if (this.#recording) this.#record(device, packet, 'drop', reason)
  }

  #record(device: Counted, packet: Packet, event: TraceEvent, reason: DropReason | undefined): void {
    const { protocol, from, to, hops, tcp } = packet
    // Receivers own what they get and may write to it: the record keeps its own.
    const data = packet.data.slice()
    this.#records.push({ time: this.#scheduler.now, at: device.name, event, protocol, from, to, hops, data, tcp, reason })
  }
}

function line(record: TraceRecord): string {
  const { time, at, event, protocol, from, to, hops, data, tcp, reason } = record
  const flags = tcp === undefined ? '' : ` ${tcpFlags(tcp)}`
  const why = reason === undefined ? '' : ` (${reason})`
  const where = `${time.toFixed(3).padStart(12)} ${at.padEnd(12)} ${event.padEnd(7)}`
  return `${where} ${protocol} ${from} > ${to}${flags} ttl ${hops} length ${data.length}${why}`
}

function tcpFlags({ syn, fin, rst, acknowledged }: TcpHeader): string {
  const names = [syn === true && 'SYN', fin === true && 'FIN', rst === true && 'RST', acknowledged !== undefined && 'ACK']
  return `[${names.filter(Boolean).join(' ')}]`
}
