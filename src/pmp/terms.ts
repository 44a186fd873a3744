/** What all mappings of a program have in common, and what is taken where nothing is said. */
import { MAPPING_PROTOCOLS, type MappingProtocol } from './protocol.ts'

export interface MappingTerms {
  readonly protocols: readonly MappingProtocol[]
  /** Milliseconds to ask for. */
  readonly lifetime: number
  /** What routers list a UPnP mapping under. */
  readonly description: string
}

/** Two hours (RFC 6886 3.3). */
export const MAPPING_DEFAULTS: MappingTerms = { protocols: MAPPING_PROTOCOLS, lifetime: 7_200_000, description: 'sallyport' }

/** What routers are known to grant without complaint. */
const SHORTEST = 120_000
const LONGEST = 86_400_000

/** @param where goes before the option's name @throws TypeError naming the option */
export function checkMappingTerms(given: Partial<MappingTerms>, where: string): MappingTerms {
  const { protocols = MAPPING_DEFAULTS.protocols, lifetime = MAPPING_DEFAULTS.lifetime, description = MAPPING_DEFAULTS.description } = given
  if (!Array.isArray(protocols) || protocols.length === 0 || !protocols.every((name) => MAPPING_PROTOCOLS.includes(name)))
    throw new TypeError(`${where}protocols is not a list of ${MAPPING_PROTOCOLS.join(', ')}`)
  if (typeof lifetime !== 'number' || !(lifetime >= SHORTEST && lifetime <= LONGEST))
    throw new TypeError(`${where}lifetime is not within ${SHORTEST} to ${LONGEST} ms: ${String(lifetime)}`)
  // The rest of XML, and what routers cut off or garble.
  if (typeof description !== 'string' || !/^[\x20-\x7e]{1,60}$/.test(description) || /[<>&"']/.test(description))
    throw new TypeError(`${where}description is not 1 to 60 printable ASCII characters without < > & " '`)
  return { protocols: MAPPING_PROTOCOLS.filter((name) => protocols.includes(name)), lifetime, description }
}
