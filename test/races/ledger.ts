/** The books of all data: what was sent, by whom and to whom, what arrived, and what must not have. */

/** Neither STUN nor empty: what starts like this is ours to read. */
const MARK = '~'

interface Entry {
  /** The session, and the end of it, that sent it. */
  readonly link: number
  readonly side: number
  /** Milliseconds. */
  readonly at: number
  /** Where it came from on its way to the receiver, as its socket saw it: several if somebody sent it again. */
  readonly from: Set<string>
  received: number
  /** The network, or somebody who repeated it, sent it once more. */
  doubled: boolean
  /** Held back, or sent again, so that an address may have changed hands between two sessions of the same two hosts meanwhile. Nothing in it tells whose it was. */
  overtaken: boolean
}

export class Ledger {
  readonly #entries: Entry[] = []

  /** A datagram to send, which is known when it comes out again. */
  write(link: number, side: number, at: number): Uint8Array {
    this.#entries.push({ link, side, at, from: new Set(), received: 0, doubled: false, overtaken: false })
    return Buffer.from(`${MARK}${this.#entries.length - 1}`)
  }

  /** One that nobody in a session sent. */
  stray(): Uint8Array {
    return Buffer.from(`${MARK}stray`)
  }

  double(packet: Uint8Array): void {
    for (const entry of this.#within(packet)) entry.doubled = true
  }

  holdBack(packet: Uint8Array): void {
    for (const entry of this.#within(packet)) entry.overtaken = true
  }

  replay(packet: Uint8Array): void {
    for (const entry of this.#within(packet)) entry.doubled = entry.overtaken = true
  }

  arrive(data: Uint8Array, from: string): void {
    const entry = this.#read(data)
    entry?.from.add(from)
  }

  /** Delivered to that end. Returns where it may have come from, or in `wrong` why it should not have been. */
  receive(data: Uint8Array, link: number, side: number): { readonly from: ReadonlySet<string> } | { readonly wrong: string } {
    const entry = this.#read(data)
    if (entry === undefined) return { wrong: `was given what nobody sent it: ${Buffer.from(data).toString('latin1').slice(0, 20)}` }
    if ((entry.link !== link && !entry.overtaken) || entry.side === side)
      return { wrong: `was given the data of another: ${senderOf(entry)}` }
    if (++entry.received > 1 && !entry.doubled) return { wrong: 'was given the same datagram twice' }
    return { from: entry.from }
  }

  /** Of the datagrams from `first` on, who sent those that never arrived, and when. */
  missing(first: number): readonly string[] {
    const missing = this.#entries.slice(first).filter(({ received }) => received === 0)
    return missing.map(
      (entry) =>
        `${senderOf(entry)} at ${entry.at.toFixed(1)} ms${entry.from.size === 0 ? '' : `, come from ${[...entry.from].join(' and ')}`}`,
    )
  }

  get size(): number {
    return this.#entries.length
  }

  /** On their way to and from relays datagrams are inside others, and several may share a segment of TCP. What only looks like one does no harm. */
  #within(packet: Uint8Array): readonly Entry[] {
    const text = Buffer.from(packet.buffer, packet.byteOffset, packet.length).toString('latin1')
    return [...text.matchAll(/~(\d+)/g)].flatMap(([, number]) => this.#entries[Number(number)] ?? [])
  }

  #read(data: Uint8Array): Entry | undefined {
    if (data[0] !== MARK.charCodeAt(0)) return undefined
    return this.#entries[Number(Buffer.from(data).toString('latin1').slice(1))]
  }
}

function senderOf({ link, side }: Entry): string {
  return `${link === 0 ? 'first' : 'second'} session, ${'ab'[side]}`
}
