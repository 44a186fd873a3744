/**
 * Transport addresses: parsed once at the edge, compared by one precomputed key from then on.
 * IPv4-mapped IPv6 becomes IPv4 here (RFC 4291 2.5.5.2), so nothing above ever sees `::ffff:a.b.c.d`.
 */
import { Address6 } from 'ip-address'
import { SallyportError } from '../errors.ts'

export type Family = 4 | 6

/** How far an IP address reaches. `shared` is the carrier-grade NAT range, RFC 6598. */
export type Scope = 'unspecified' | 'loopback' | 'link-local' | 'private' | 'shared' | 'multicast' | 'global'

export class Address {
  /** Canonical text: dotted quad, or RFC 5952 without a zone. */
  readonly ip: string
  readonly port: number
  readonly family: Family
  /** Zone of an IPv6 link-local address (an interface name), else ''. */
  readonly zone: string
  /** The same for equal addresses and only for those. */
  readonly key: string
  /** The IP address in network order: 4 or 16 bytes. Not to be written to. */
  readonly bytes: Uint8Array
  readonly scope: Scope

  private constructor(ip: string, port: number, family: Family, zone: string, bytes: Uint8Array, scope: Scope) {
    this.ip = ip
    this.port = port
    this.family = family
    this.zone = zone
    this.bytes = bytes
    this.scope = scope
    this.key = family === 4 ? `${ip}:${port}` : `[${this.host}]:${port}`
    Object.freeze(this)
  }

  /** Reads an IP literal, with `%zone` where it has one. @throws SallyportError `ERR_ADDRESS` */
  static of(ip: string, port: number): Address {
    const address = Address.tryOf(ip, port)
    if (address === undefined) throw new SallyportError('ERR_ADDRESS', `not an IP address and port: ${ip} ${port}`)
    return address
  }

  static tryOf(ip: string, port: number): Address | undefined {
    // ip-address takes '1.2.3.4/24' as an address; a transport address has no prefix length.
    if (!Number.isInteger(port) || port < 0 || port > 0xffff || ip.length > 80 || ip.includes('/')) return undefined
    if (!ip.includes(':')) return fromDottedQuad(ip, port)
    if (!Address6.isValid(ip)) return undefined
    const parsed = new Address6(ip)
    const zone = parsed.zone.startsWith('%') ? parsed.zone.slice(1) : parsed.zone
    return fromParsed6(parsed, port, zone)
  }

  /** From 4 or 16 bytes in network order, copied. @throws SallyportError `ERR_ADDRESS` for any other length */
  static fromBytes(bytes: Uint8Array, port: number): Address {
    if (bytes.length === 4) {
      const ip = `${bytes[0]}.${bytes[1]}.${bytes[2]}.${bytes[3]}`
      // A Buffer's slice would be a view of the datagram.
      return make(ip, port, 4, '', Uint8Array.from(bytes), scope4(bytes))
    }
    if (bytes.length === 16) return fromParsed6(Address6.fromUnsignedByteArray([...bytes]), port, '')
    throw new SallyportError('ERR_ADDRESS', `an IP address has 4 or 16 bytes, not ${bytes.length}`)
  }

  /** The wildcard address of a family. */
  static any(family: Family, port = 0): Address {
    return Address.of(family === 4 ? '0.0.0.0' : '::', port)
  }

  /** @internal only for this module's own constructors */
  static make(ip: string, port: number, family: Family, zone: string, bytes: Uint8Array, scope: Scope): Address {
    return new Address(ip, port, family, zone, bytes, scope)
  }

  withPort(port: number): Address {
    return port === this.port ? this : make(this.ip, port, this.family, this.zone, this.bytes, this.scope)
  }

  /** The IP address with its zone, as it is bound to and dialled. */
  get host(): string {
    return this.zone === '' ? this.ip : `${this.ip}%${this.zone}`
  }

  equals(other: Address): boolean {
    return this.key === other.key
  }

  sameIp(other: Address): boolean {
    return this.ip === other.ip && this.zone === other.zone
  }

  toString(): string {
    return this.key
  }

  toJSON(): string {
    return this.key
  }
}

const make = Address.make

/**
 * Read here and not by ip-address, whose reading takes ten times as long and leaves much to collect: whoever sends us datagrams from ever
 * new addresses has us do it for each. Four decimal numbers without leading zeros, which elsewhere mean octal: that is the canonical text.
 */
function fromDottedQuad(ip: string, port: number): Address | undefined {
  const bytes = new Uint8Array(4)
  let part = 0
  let digits = 0
  let value = 0
  for (let i = 0; i < ip.length; i++) {
    const digit = ip.charCodeAt(i) - 0x30
    if (digit >= 0 && digit <= 9) {
      if (digits++ > 0 && value === 0) return undefined
      value = 10 * value + digit
      if (value > 255) return undefined
    } else {
      // A full stop between two parts.
      if (digit !== -2 || digits === 0 || part === 3) return undefined
      bytes[part++] = value
      digits = value = 0
    }
  }
  if (part !== 3 || digits === 0) return undefined
  bytes[3] = value
  return make(ip, port, 4, '', bytes, scope4(bytes))
}

function fromParsed6(parsed: Address6, port: number, zone: string): Address {
  const raw = parsed.toUnsignedByteArray()
  const bytes = new Uint8Array(16)
  bytes.set(raw, 16 - raw.length)
  if (parsed.isMapped4()) return Address.fromBytes(bytes.subarray(12), port)
  const scope = scope6(bytes)
  // A zone means something only where the scope is smaller than the host's whole view (RFC 4007).
  const kept = scope === 'link-local' || scope === 'multicast' ? zone : ''
  return make(parsed.correctForm(), port, 6, kept, bytes, scope)
}

function scope4(b: Uint8Array): Scope {
  const [first = 0, second = 0] = b
  if (first === 0) return 'unspecified'
  if (first === 127) return 'loopback'
  if (first === 169 && second === 254) return 'link-local'
  if (first === 10 || (first === 172 && second >= 16 && second < 32) || (first === 192 && second === 168)) return 'private'
  if (first === 100 && second >= 64 && second < 128) return 'shared'
  if (first >= 224) return 'multicast' // 224/4, with 240/4 and broadcast: nothing to send a check to either
  return 'global'
}

function scope6(b: Uint8Array): Scope {
  const [first = 0, second = 0] = b
  if (first === 0xff) return 'multicast'
  if (first === 0xfe && (second & 0xc0) === 0x80) return 'link-local'
  if ((first & 0xfe) === 0xfc) return 'private' // unique local, RFC 4193
  if (first === 0 && b.subarray(0, 15).every((byte) => byte === 0)) {
    if (b[15] === 0) return 'unspecified'
    if (b[15] === 1) return 'loopback'
  }
  return 'global'
}

/** An address range in CIDR notation. */
export class Prefix {
  readonly #bytes: Uint8Array
  readonly #text: string
  readonly length: number
  readonly family: Family

  private constructor(address: Address, length: number) {
    this.#bytes = address.bytes
    this.family = address.family
    this.length = length
    this.#text = `${address.ip}/${length}`
  }

  /** Reads `10.0.0.0/8`, `fd00::/8`, or one address. @throws SallyportError `ERR_ADDRESS` */
  static parse(text: string): Prefix {
    const [ip = '', lengthText, ...rest] = text.split('/')
    const address = Address.tryOf(ip, 0)
    if (address !== undefined && rest.length === 0) {
      const longest = address.family === 4 ? 32 : 128
      const length = lengthText === undefined ? longest : /^\d{1,3}$/.test(lengthText) ? Number(lengthText) : -1
      if (length >= 0 && length <= longest) return new Prefix(address, length)
    }
    throw new SallyportError('ERR_ADDRESS', `not an address range such as 10.0.0.0/8: ${text}`)
  }

  /** The range of the given length around an address. */
  static around(address: Address, length: number): Prefix {
    return new Prefix(address, length)
  }

  contains(address: Address): boolean {
    if (address.family !== this.family) return false
    const whole = this.length >> 3
    for (let i = 0; i < whole; i++) if (address.bytes[i] !== this.#bytes[i]) return false
    const rest = this.length & 7
    if (rest === 0) return true
    const mask = (0xff00 >> rest) & 0xff
    return ((address.bytes[whole] as number) & mask) === ((this.#bytes[whole] as number) & mask)
  }

  toString(): string {
    return this.#text
  }
}
