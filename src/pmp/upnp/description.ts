/**
 * What a device says of itself (UPnP Device Architecture 2.0, section 2): who it is, and which services that can map ports it has,
 * anywhere in its tree of devices. Control URLs that lead to another host are none.
 */
import { SallyportError } from '../../errors.ts'
import type { HttpClient } from './http.ts'
import { formatHttpUrl, type HttpUrl, parseHttpUrl, resolveHttpUrl } from './http-url.ts'
import { childText, findElement, loadXml, type XmlElement } from './xml.ts'

export type ServiceKind = 'WANIPConnection' | 'WANPPPConnection' | 'WANIPv6FirewallControl'

export interface Service {
  /** As the device spells it: what SOAPAction repeats. */
  readonly type: string
  readonly kind: ServiceKind
  readonly version: number
  readonly control: HttpUrl
}

export interface Description {
  /** Maker and model as the device says, one line; '' when it does not. */
  readonly model: string
  /** In the order of preference. */
  readonly services: readonly Service[]
  /** Services that were left out: their control URL leads to another host, or makes no sense. */
  readonly dropped: number
}

const LONGEST_DESCRIPTION = 256 << 10
/** MikroTik lists one for each WAN interface. */
const MOST_SERVICES = 16
const LONGEST_NAME = 64
/** The second is what the first routers had (Huawei HG531). */
const TYPE = /^urn:(schemas-upnp-org|dslforum-org):service:(WANIPConnection|WANPPPConnection|WANIPv6FirewallControl):([1-9])$/

/** Rejects with SallyportError `ERR_MAPPING_UNAVAILABLE`, `ERR_MAPPING_ANSWER`, `ERR_CLOSED`. */
export async function fetchDescription(http: HttpClient, location: HttpUrl): Promise<Description> {
  const { status, body } = await http.request({ method: 'GET', url: location, limit: LONGEST_DESCRIPTION })
  if (status !== 200) throw new SallyportError('ERR_MAPPING_ANSWER', `${formatHttpUrl(location)}: HTTP status ${status}`)
  const read = await loadXml()
  return readDescription(read(body), location)
}

export function readDescription(root: XmlElement, location: HttpUrl): Description {
  const base = baseOf(root, location)
  const services = new Map<string, Service>()
  let dropped = 0
  for (const element of elementsOf(root, 'service')) {
    const type = childText(element, 'serviceType')
    const match = TYPE.exec(type)
    if (match === null) continue
    const control = resolveHttpUrl(childText(element, 'controlURL'), base)
    if (control?.address.sameIp(location.address) !== true || services.size >= MOST_SERVICES) {
      dropped++
      continue
    }
    services.set(`${type} ${formatHttpUrl(control)}`, { type, kind: match[2] as ServiceKind, version: Number(match[3]), control })
  }
  return { model: modelOf(root), services: [...services.values()].sort((a, b) => preference(a) - preference(b)), dropped }
}

/** URLBase (UPnP Device Architecture 1.0 2.1) where it is the same host's; routers leave addresses of their youth in it. */
function baseOf(root: XmlElement, location: HttpUrl): HttpUrl {
  const base = parseHttpUrl(childText(root, 'URLBase'), location.address.zone)
  return base?.address.sameIp(location.address) === true ? base : location
}

function* elementsOf(element: XmlElement, name: string): Generator<XmlElement> {
  if (element.name === name) yield element
  for (const child of element.children) yield* elementsOf(child, name)
}

function preference({ type, kind, version }: Service): number {
  const old = type.includes('dslforum') ? 100 : 0
  return old + (kind === 'WANPPPConnection' ? 50 : 0) - version
}

function modelOf(root: XmlElement): string {
  const device = findElement(root, 'device')
  if (device === undefined) return ''
  const words = ['manufacturer', 'friendlyName', 'modelName', 'modelNumber'].map((name) => cleaned(childText(device, name)))
  // `FRITZ!Box 7590` says itself three times.
  const kept = words.filter((word, i) => word !== '' && !words.some((other, j) => i !== j && says(other, word, j < i)))
  return kept.join(' ').slice(0, LONGEST_NAME).trim()
}

function says(other: string, word: string, earlier: boolean): boolean {
  return other === word ? earlier : other.toLowerCase().includes(word.toLowerCase())
}

/** One line of printable characters: it goes to logs and terminals. */
export function cleaned(text: string): string {
  return text
    .replace(/[^\p{L}\p{M}\p{N}\p{P}\p{S} ]+/gu, ' ')
    .replace(/ +/g, ' ')
    .trim()
    .slice(0, LONGEST_NAME)
}
