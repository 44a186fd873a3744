/** Linux's /proc/net/if_inet6: the state of each IPv6 address, which `os.networkInterfaces()` does not tell. */
import { Address } from '../address.ts'

/** From the kernel's if_addr.h, as far as eight bits of it are printed. */
const FLAG_TEMPORARY = 0x01
const FLAG_OPTIMISTIC = 0x04
const FLAG_DAD_FAILED = 0x08
const FLAG_DEPRECATED = 0x20
const FLAG_TENTATIVE = 0x40

export interface Inet6State {
  /** RFC 8981. */
  readonly temporary: boolean
  /** RFC 4862 5.5.4. */
  readonly deprecated: boolean
  /** Not (yet) proved to be unique, RFC 4862 5.4: binding it fails. */
  readonly tentative: boolean
}

/** By `<ip> <interface>`, the ip in canonical text. Lines that cannot be read are left out. */
export function parseIfInet6(text: string): Map<string, Inet6State> {
  const states = new Map<string, Inet6State>()
  for (const line of text.split('\n')) {
    const [hex = '', , , , flagsHex = '', name] = line.trim().split(/\s+/)
    if (!/^[0-9a-f]{32}$/.test(hex) || !/^[0-9a-f]+$/.test(flagsHex) || name === undefined) continue
    const flags = Number.parseInt(flagsHex, 16)
    const { ip } = Address.fromBytes(Buffer.from(hex, 'hex'), 0)
    states.set(`${ip} ${name}`, {
      temporary: (flags & FLAG_TEMPORARY) !== 0,
      deprecated: (flags & FLAG_DEPRECATED) !== 0,
      // An optimistic address may be used while it is being proved, RFC 4429.
      tentative: (flags & FLAG_DAD_FAILED) !== 0 || ((flags & FLAG_TENTATIVE) !== 0 && (flags & FLAG_OPTIMISTIC) === 0),
    })
  }
  return states
}
