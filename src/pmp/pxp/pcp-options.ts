/** PCP options (RFC 6887 7.3 and 13): a code, a length, and data that is padded to four bytes. */
import { Address, type Prefix } from '../../net/index.ts'
import { pcpAddress, writePcpAddress } from './pcp-address.ts'

const CODES = { thirdParty: 1, preferFailure: 2, filter: 3 } as const
const HEAD = 4
const THIRD_PARTY_LENGTH = 16
const FILTER_LENGTH = 20
/** Where an IPv4 prefix begins within its mapped form. */
const MAPPED_BITS = 96

export type PcpOption =
  /** Somebody else's mapping; we never ask for one. */
  | { readonly kind: 'third-party'; readonly internal: Address }
  | { readonly kind: 'prefer-failure' }
  /** `remote` has the port that is let in, 0 for all. A `prefixLength` of 0 takes all filters away. */
  | { readonly kind: 'filter'; readonly remote: Address; readonly prefixLength: number }
  | { readonly kind: 'other'; readonly code: number; readonly data: Uint8Array }

export type WrittenOption = Extract<PcpOption, { readonly kind: 'prefer-failure' | 'filter' }>

/** `remote` may be a prefix of either family; IPv4 counts from the beginning of its mapped form (RFC 6887 13.3). */
export function filterOption(prefix: Prefix): WrittenOption {
  const remote = Address.of(prefix.toString().split('/')[0] ?? '', 0)
  return { kind: 'filter', remote, prefixLength: prefix.length + (prefix.family === 4 ? MAPPED_BITS : 0) }
}

export function optionLength(option: WrittenOption): number {
  return HEAD + (option.kind === 'filter' ? FILTER_LENGTH : 0)
}

export function writeOption(data: Uint8Array, at: number, option: WrittenOption): void {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength)
  if (option.kind === 'prefer-failure') {
    data[at] = CODES.preferFailure
    return
  }
  data[at] = CODES.filter
  view.setUint16(at + 2, FILTER_LENGTH)
  data[at + HEAD + 1] = option.prefixLength
  view.setUint16(at + HEAD + 2, option.remote.port)
  writePcpAddress(data, at + HEAD + 4, option.remote)
}

/** All that stands from `at` on; undefined when it is not a whole number of options, or a known one has another length than it must. */
export function readOptions(data: Uint8Array, at: number): readonly PcpOption[] | undefined {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength)
  const options: PcpOption[] = []
  for (let next = at; next < data.length; ) {
    if (next + HEAD > data.length) return undefined
    const code = view.getUint8(next)
    const start = next + HEAD
    const end = start + view.getUint16(next + 2)
    next = (end + 3) & ~3
    if (next > data.length) return undefined
    const option = readOption(code, data.subarray(start, end))
    if (option === undefined) return undefined
    options.push(option)
  }
  return options
}

function readOption(code: number, data: Uint8Array): PcpOption | undefined {
  if (code === CODES.thirdParty) {
    return data.length === THIRD_PARTY_LENGTH ? { kind: 'third-party', internal: pcpAddress(data, 0) } : undefined
  }
  if (code === CODES.preferFailure) return data.length === 0 ? { kind: 'prefer-failure' } : undefined
  if (code !== CODES.filter) return { kind: 'other', code, data: data.slice() }
  const [, prefixLength = 0, high = 0, low = 0] = data
  if (data.length !== FILTER_LENGTH || prefixLength > 128) return undefined
  return { kind: 'filter', remote: pcpAddress(data, 4, (high << 8) | low), prefixLength }
}
