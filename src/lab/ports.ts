/** Which external address and port a NAT gives a new mapping: RFC 4787 REQ-2 (pooling) and 4.2 (port assignment). */
import type { Address } from '../net/index.ts'
import type { NatOptions, Pooling } from './nat-options.ts'
import type { SeededRandom } from './random.ts'

/** The public addresses of a NAT, shared by its protocols so that pairing holds across them. */
export class PublicPool {
  readonly addresses: readonly Address[]
  readonly #pooling: Pooling
  readonly #random: SeededRandom
  readonly #pairs = new Map<string, Address>()

  constructor(addresses: readonly Address[], pooling: Pooling, random: SeededRandom) {
    this.addresses = addresses
    this.#pooling = pooling
    this.#random = random
  }

  /** The address for a new mapping of an internal address. */
  pick(internal: Address): Address {
    const { addresses } = this
    if (addresses.length === 1) return addresses[0] as Address
    if (this.#pooling === 'arbitrary') return addresses[this.#random.below(addresses.length)] as Address
    let address = this.#pairs.get(internal.ip)
    if (address === undefined) {
      address = addresses[this.#pairs.size % addresses.length] as Address
      this.#pairs.set(internal.ip, address)
    }
    return address
  }
}

export class PortAllocator {
  readonly #options: NatOptions
  readonly #pool: PublicPool
  readonly #random: SeededRandom
  readonly #first: number
  readonly #count: number
  /** Next port of each public address, for the sequential kinds. */
  readonly #next = new Map<string, number>()
  /** First port of the block of each internal address. */
  readonly #blocks = new Map<string, number>()

  constructor(options: NatOptions, pool: PublicPool, random: SeededRandom) {
    this.#options = options
    this.#pool = pool
    this.#random = random
    const [first, last] = options.portRange ?? [1024, 65535]
    this.#first = first
    this.#count = last - first + 1
  }

  /** What a port-preserving NAT wants to give; undefined where that cannot be told. */
  preferred(internal: Address): Address | undefined {
    const one = this.#options.pooling !== 'arbitrary' || this.#pool.addresses.length === 1
    return this.#options.ports === 'preserving' && one ? this.#pool.pick(internal).withPort(internal.port) : undefined
  }

  /** A free external address and port; undefined when there is none. */
  allocate(internal: Address, free: (candidate: Address) => boolean): Address | undefined {
    const ip = this.#pool.pick(internal)
    const { ports } = this.#options
    if (ports === 'preserving') {
      // A port below the range is kept as well where it is free: routers keep 500 and 4500 for IPsec's sake.
      const own = ip.withPort(internal.port)
      return free(own) ? own : this.#scan(ip, internal.port + 1 - this.#first, 1, this.#first, this.#count, free)
    }
    if (ports === 'random') return this.#anywhere(ip, this.#first, this.#count, free)
    if (ports === 'sequential') return this.#onward(ip, 1, free)
    if ('delta' in ports) return this.#onward(ip, ports.delta, free)
    const start = this.#block(internal, ports.block)
    return start === undefined ? undefined : this.#anywhere(ip, start, ports.block, free)
  }

  #anywhere(ip: Address, first: number, count: number, free: (candidate: Address) => boolean): Address | undefined {
    for (let tries = 0; tries < 16; tries++) {
      const candidate = ip.withPort(first + this.#random.below(count))
      if (free(candidate)) return candidate
    }
    return this.#scan(ip, this.#random.below(count), 1, first, count, free)
  }

  #onward(ip: Address, step: number, free: (candidate: Address) => boolean): Address | undefined {
    const from = this.#next.get(ip.ip) ?? this.#random.below(this.#count)
    const found = this.#scan(ip, from, step, this.#first, this.#count, free)
    if (found !== undefined) this.#next.set(ip.ip, found.port - this.#first + step)
    return found
  }

  /** The first free port from an index of the range on, round and round in the given steps. */
  #scan(ip: Address, from: number, step: number, first: number, count: number, free: (candidate: Address) => boolean): Address | undefined {
    for (let i = 0; i < count; i++) {
      const index = (((from + i * step) % count) + count) % count
      const candidate = ip.withPort(first + index)
      if (free(candidate)) return candidate
    }
    return undefined
  }

  #block(internal: Address, size: number): number | undefined {
    let start = this.#blocks.get(internal.ip)
    if (start !== undefined) return start
    const blocks = Math.floor(this.#count / size)
    const taken = new Set(this.#blocks.values())
    for (let i = 0, index = this.#random.below(blocks); i < blocks; i++, index = (index + 1) % blocks) {
      start = this.#first + index * size
      if (taken.has(start)) continue
      this.#blocks.set(internal.ip, start)
      return start
    }
    return undefined
  }
}
