/**
 * Send and Data indications (RFC 8656 11), read and written in place: with thousands of them a second, messages as objects are too dear. They
 * carry no integrity, so all that counts is where things lie.
 */
import type { Address } from '../../net/index.ts'
import { Attribute, MAGIC_COOKIE } from '../../stun/index.ts'

const HEADER_LENGTH = 20
const SEND_INDICATION = 0x0016
const DATA_INDICATION = 0x0017

/** Whether a datagram is meant to be a Send indication. */
export function looksLikeSend(data: Uint8Array): boolean {
  return data.length >= HEADER_LENGTH && data[0] === SEND_INDICATION >>> 8 && data[1] === (SEND_INDICATION & 0xff)
}

/** What a Send indication says, as offsets into it. One object for all: valid until the next `read`. */
export class SendReader {
  /** Where family, port and address of XOR-PEER-ADDRESS are, and how long the address is. */
  peerAt = 0
  ipLength = 0
  dataAt = 0
  dataLength = 0

  /** False when it is damaged, or has an attribute that must be understood and is not (RFC 8656 11.2). */
  read(data: Uint8Array): boolean {
    const size = data.length
    if ((size & 3) !== 0 || uint16(data, 2) !== size - HEADER_LENGTH) return false
    if (((uint16(data, 4) << 16) | uint16(data, 6)) !== MAGIC_COOKIE) return false
    this.peerAt = 0
    this.dataAt = 0
    for (let at = HEADER_LENGTH; at < size; ) {
      const type = uint16(data, at)
      const length = uint16(data, at + 2)
      const next = at + 4 + ((length + 3) & ~3)
      if (next > size) return false
      if (type === Attribute.Data) {
        if (this.dataAt === 0) {
          this.dataAt = at + 4
          this.dataLength = length
        }
      } else if (type === Attribute.XorPeerAddress) {
        if (this.peerAt === 0) {
          const family = data[at + 5]
          if (!(family === 1 && length === 8) && !(family === 2 && length === 20)) return false
          this.peerAt = at + 4
          this.ipLength = length - 4
        }
      } else if (type < 0x8000) return false
      at = next
    }
    return this.peerAt !== 0 && this.dataAt !== 0
  }

  /**
   * Family, port and address of the peer, unmasked, as a text that is the same for the same peer: half as many characters as bytes. For
   * look-ups, not for people.
   */
  peerKey(data: Uint8Array): string {
    const at = this.peerAt
    const port = uint16(data, at + 2) ^ (MAGIC_COOKIE >>> 16)
    const high = uint16(data, at + 4) ^ (MAGIC_COOKIE >>> 16)
    const low = uint16(data, at + 6) ^ (MAGIC_COOKIE & 0xffff)
    if (this.ipLength === 4) return String.fromCharCode(port, high, low)
    // RFC 8489 14.2: behind the cookie, the transaction id masks.
    return String.fromCharCode(
      port,
      high,
      low,
      uint16(data, at + 8) ^ uint16(data, 8),
      uint16(data, at + 10) ^ uint16(data, 10),
      uint16(data, at + 12) ^ uint16(data, 12),
      uint16(data, at + 14) ^ uint16(data, 14),
      uint16(data, at + 16) ^ uint16(data, 16),
      uint16(data, at + 18) ^ uint16(data, 18),
    )
  }

  /** The peer's address: 4 or 16 bytes, fresh memory. */
  peerIp(data: Uint8Array): Uint8Array {
    const ip = new Uint8Array(this.ipLength)
    for (let i = 0; i < ip.length; i++) ip[i] = (data[this.peerAt + 4 + i] as number) ^ (data[4 + i] as number)
    return ip
  }

  peerPort(data: Uint8Array): number {
    return uint16(data, this.peerAt + 2) ^ (MAGIC_COOKIE >>> 16)
  }
}

/** Bytes of a Data indication. */
export function dataIndicationLength(peer: Address, payload: number): number {
  return HEADER_LENGTH + 8 + peer.bytes.length + 4 + ((payload + 3) & ~3)
}

/** Writes a Data indication into memory of exactly that length, which is zero. `id` has 12 bytes. */
export function writeDataIndication(out: Uint8Array, id: Uint8Array, peer: Address, payload: Uint8Array): void {
  put16(out, 0, DATA_INDICATION)
  put16(out, 2, out.length - HEADER_LENGTH)
  put16(out, 4, MAGIC_COOKIE >>> 16)
  put16(out, 6, MAGIC_COOKIE & 0xffff)
  out.set(id, 8)
  const ip = peer.bytes
  put16(out, 20, Attribute.XorPeerAddress)
  put16(out, 22, 4 + ip.length)
  out[25] = peer.family === 4 ? 1 : 2
  put16(out, 26, peer.port ^ (MAGIC_COOKIE >>> 16))
  for (let i = 0; i < ip.length; i++) out[28 + i] = (ip[i] as number) ^ (out[4 + i] as number)
  const at = 28 + ip.length
  put16(out, at, Attribute.Data)
  put16(out, at + 2, payload.length)
  out.set(payload, at + 4)
}

function uint16(data: Uint8Array, at: number): number {
  return ((data[at] as number) << 8) | (data[at + 1] as number)
}

function put16(data: Uint8Array, at: number, value: number): void {
  data[at] = value >>> 8
  data[at + 1] = value
}
