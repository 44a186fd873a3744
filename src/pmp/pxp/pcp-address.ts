/** IP addresses in PCP messages: always 16 bytes, IPv4 in its mapped form (RFC 6887 5). */
import { Address } from '../../net/index.ts'

export const PCP_ADDRESS_LENGTH = 16

/** `::ffff:0.0.0.0` reads as the IPv4 wildcard, `::` as that of IPv6. `data` must be long enough. */
export function pcpAddress(data: Uint8Array, at: number, port = 0): Address {
  return Address.fromBytes(data.subarray(at, at + PCP_ADDRESS_LENGTH), port)
}

export function writePcpAddress(data: Uint8Array, at: number, address: Address): void {
  if (address.family === 6) {
    data.set(address.bytes, at)
    return
  }
  data[at + 10] = data[at + 11] = 0xff
  data.set(address.bytes, at + 12)
}
