/** Writes pcapng files (draft-ietf-opsawg-pcapng): raw IP packets with the headers they would have had. Little-endian. */
import type { Address } from '../net/index.ts'
import type { TcpHeader } from './packet.ts'
import type { TraceRecord } from './trace.ts'

const SECTION_HEADER = 0x0a0d0d0a
const INTERFACE_DESCRIPTION = 1
const ENHANCED_PACKET = 6
const BYTE_ORDER = 0x1a2b3c4d
/** LINKTYPE_RAW: the packet begins with its IPv4 or IPv6 header. */
const RAW = 101
const OPTION_COMMENT = 1
const OPTION_NAME = 2

const text = new TextEncoder()

/** `epoch`: milliseconds since 1970 at virtual time zero. */
export function encodePcapng(records: readonly TraceRecord[], epoch: number): Uint8Array {
  const blocks: Uint8Array[] = [sectionHeader()]
  const interfaces = new Map<string, number>()
  for (const { at } of records) {
    if (interfaces.has(at)) continue
    interfaces.set(at, interfaces.size)
    blocks.push(interfaceDescription(at))
  }
  for (const record of records) blocks.push(enhancedPacket(record, interfaces.get(record.at) as number, epoch))
  return concat(blocks)
}

function sectionHeader(): Uint8Array {
  const body = new DataView(new ArrayBuffer(16))
  body.setUint32(0, BYTE_ORDER, true)
  body.setUint16(4, 1, true)
  // Length of the section: not given.
  body.setBigInt64(8, -1n, true)
  return block(SECTION_HEADER, bytesOf(body))
}

function interfaceDescription(name: string): Uint8Array {
  const fixed = new DataView(new ArrayBuffer(8))
  fixed.setUint16(0, RAW, true)
  return block(INTERFACE_DESCRIPTION, concat([bytesOf(fixed), option(OPTION_NAME, name), option(0, '')]))
}

function enhancedPacket(record: TraceRecord, index: number, epoch: number): Uint8Array {
  const packet = ipPacket(record)
  const micros = BigInt(Math.round(record.time * 1000)) + BigInt(epoch) * 1000n
  const fixed = new DataView(new ArrayBuffer(20))
  fixed.setUint32(0, index, true)
  fixed.setUint32(4, Number(micros >> 32n), true)
  fixed.setUint32(8, Number(micros & 0xffff_ffffn), true)
  fixed.setUint32(12, packet.length, true)
  fixed.setUint32(16, packet.length, true)
  const comment = record.reason === undefined ? record.event : `${record.event}: ${record.reason}`
  return block(ENHANCED_PACKET, concat([bytesOf(fixed), pad(packet), option(OPTION_COMMENT, comment), option(0, '')]))
}

function block(type: number, body: Uint8Array): Uint8Array {
  const result = new Uint8Array(12 + body.length)
  const view = new DataView(result.buffer)
  view.setUint32(0, type, true)
  view.setUint32(4, result.length, true)
  result.set(body, 8)
  view.setUint32(result.length - 4, result.length, true)
  return result
}

function option(code: number, value: string): Uint8Array {
  const bytes = text.encode(value)
  const head = new DataView(new ArrayBuffer(4))
  head.setUint16(0, code, true)
  head.setUint16(2, bytes.length, true)
  return concat([bytesOf(head), pad(bytes)])
}

function ipPacket(record: TraceRecord): Uint8Array {
  const { from, to, hops, data, tcp } = record
  const transport = tcp === undefined ? udpHeader(from, to, data) : tcpSegment(from, to, data, tcp)
  const protocol = tcp === undefined ? 17 : 6
  checksumTransport(transport, from, to, protocol)
  const length = transport.length + (from.family === 4 ? 20 : 0)
  const header = new DataView(new ArrayBuffer(from.family === 4 ? 20 : 40))
  const bytes = bytesOf(header)
  if (from.family === 4) {
    header.setUint8(0, 0x45)
    header.setUint16(2, length)
    header.setUint8(8, hops)
    header.setUint8(9, protocol)
    bytes.set(from.bytes, 12)
    bytes.set(to.bytes, 16)
    header.setUint16(10, onesComplement(bytes, 0))
  } else {
    header.setUint8(0, 0x60)
    header.setUint16(4, length)
    header.setUint8(6, protocol)
    header.setUint8(7, hops)
    bytes.set(from.bytes, 8)
    bytes.set(to.bytes, 24)
  }
  return concat([bytes, transport])
}

function udpHeader(from: Address, to: Address, data: Uint8Array): Uint8Array {
  const result = new Uint8Array(8 + data.length)
  const view = new DataView(result.buffer)
  view.setUint16(0, from.port)
  view.setUint16(2, to.port)
  view.setUint16(4, result.length)
  result.set(data, 8)
  return result
}

function tcpSegment(from: Address, to: Address, data: Uint8Array, tcp: TcpHeader): Uint8Array {
  const result = new Uint8Array(20 + data.length)
  const view = new DataView(result.buffer)
  view.setUint16(0, from.port)
  view.setUint16(2, to.port)
  view.setUint32(4, tcp.sequence >>> 0)
  view.setUint32(8, (tcp.acknowledged ?? 0) >>> 0)
  view.setUint8(12, 5 << 4)
  const bits = [tcp.fin === true, tcp.syn === true, tcp.rst === true, data.length > 0, tcp.acknowledged !== undefined]
  view.setUint8(
    13,
    bits.reduce((flags, bit, i) => flags | (bit ? 1 << i : 0), 0),
  )
  view.setUint16(14, 0xffff)
  result.set(data, 20)
  return result
}

/** RFC 768, RFC 9293 3.1, RFC 8200 8.1: over a pseudo-header of the addresses, the length and the protocol. */
function checksumTransport(segment: Uint8Array, from: Address, to: Address, protocol: number): void {
  const tail = new DataView(new ArrayBuffer(8))
  tail.setUint32(0, segment.length)
  tail.setUint32(4, protocol)
  const pseudo = concat([from.bytes, to.bytes, bytesOf(tail)])
  const sum = onesComplement(segment, sumOf(pseudo))
  // UDP sends a sum of zero as all ones, since zero says that there is none.
  new DataView(segment.buffer).setUint16(protocol === 17 ? 6 : 16, protocol === 17 && sum === 0 ? 0xffff : sum)
}

function sumOf(bytes: Uint8Array): number {
  let sum = 0
  for (let i = 0; i < bytes.length; i += 2) sum += ((bytes[i] as number) << 8) | (bytes[i + 1] ?? 0)
  return sum
}

function onesComplement(bytes: Uint8Array, initial: number): number {
  let sum = initial + sumOf(bytes)
  while (sum > 0xffff) sum = (sum & 0xffff) + Math.floor(sum / 0x10000)
  return ~sum & 0xffff
}

function pad(bytes: Uint8Array): Uint8Array {
  if (bytes.length % 4 === 0) return bytes
  const padded = new Uint8Array((bytes.length + 3) & ~3)
  padded.set(bytes)
  return padded
}

function bytesOf(view: DataView): Uint8Array {
  return new Uint8Array(view.buffer as ArrayBuffer)
}

function concat(parts: readonly Uint8Array[]): Uint8Array {
  const result = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0))
  let offset = 0
  for (const part of parts) {
    result.set(part, offset)
    offset += part.length
  }
  return result
}
