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

/** @param where goes before the option's name @param list what the option of protocols is called @throws TypeError naming the option */
export function checkMappingTerms(given: Partial<MappingTerms>, where: string, list = 'protocols'): MappingTerms {
  const { protocols = MAPPING_DEFAULTS.protocols, lifetime = MAPPING_DEFAULTS.lifetime, description = MAPPING_DEFAULTS.description } = given
  if (!Array.isArray(protocols) || protocols.length === 0 || !protocols.every((name) => MAPPING_PROTOCOLS.includes(name)))
    throw new TypeError(`${where}${list} is not a list of ${MAPPING_PROTOCOLS.join(', ')}`)
  if (typeof lifetime !== 'number' || !(lifetime >= SHORTEST && lifetime <= LONGEST))
    throw new TypeError(`${where}lifetime is not within ${SHORTEST} to ${LONGEST} ms: ${String(lifetime)}`)
  // What no router cuts off or garbles.
  if (typeof description !== 'string' || !/^[\w. -]{1,60}$/.test(description))
    throw new TypeError(`${where}description is not 1 to 60 ASCII letters, digits, spaces and . _ -`)
  return { protocols: MAPPING_PROTOCOLS.filter((name) => protocols.includes(name)), lifetime, description }
}
