/** `http:` URLs as routers give them: an IP literal, a port, a path. Names, other schemes and what could break a request line are none. */
import { Address } from '../../net/index.ts'

export interface HttpUrl {
  readonly address: Address
  /** Path and query, from the `/`. */
  readonly path: string
}

const LONGEST = 1024
const ABSOLUTE = /^http:\/\/(?:\[([0-9a-f:.]+)(?:%[\w.%-]+)?\]|([0-9.]+))(?::([0-9]{1,5}))?(?=[/?#]|$)([^#]*)/i
/** What may stand in a request line: no space, no control character, ASCII. */
const PATH = /^[\x21-\x7e]*$/

/**
 * Undefined for anything else. A zone in it is the router's own name for its interface (RFC 6874 1); ours, `zone`, takes its place.
 */
export function parseHttpUrl(text: string, zone = ''): HttpUrl | undefined {
  if (text.length > LONGEST) return undefined
  const match = ABSOLUTE.exec(text.trim())
  if (match === null) return undefined
  const [, six, four, port = '80', rest = ''] = match
  const plain = Address.tryOf(six ?? four ?? '', Number(port))
  if (plain === undefined || plain.port === 0 || (six !== undefined && plain.family === 4)) return undefined
  const address = plain.scope === 'link-local' && zone !== '' && plain.family === 6 ? Address.of(`${plain.ip}%${zone}`, plain.port) : plain
  const path = readPath(rest)
  return path === undefined ? undefined : { address, path }
}

/** RFC 3986 5.2 as far as routers use it: absolute, from the root, or beside the base's last segment. */
export function resolveHttpUrl(text: string, base: HttpUrl): HttpUrl | undefined {
  const reference = text.trim()
  if (reference === '' || reference.length > LONGEST) return undefined
  if (reference.startsWith('//')) return parseHttpUrl(`http:${reference}`, base.address.zone)
  if (/^[a-z][a-z0-9+.-]*:/i.test(reference)) return parseHttpUrl(reference, base.address.zone)
  const folder = base.path.replace(/\?.*$/s, '').replace(/[^/]*$/, '')
  const path = readPath(reference.startsWith('/') ? reference : folder + reference)
  return path === undefined ? undefined : { address: base.address, path }
}

function readPath(text: string): string | undefined {
  const [before = ''] = text.replaceAll(' ', '%20').split('#')
  if (!PATH.test(before)) return undefined
  return before.startsWith('/') ? before : `/${before}`
}

/** As the Host header has it: without a zone (RFC 6874 3), and without HTTP's own port. */
export function hostOf({ family, ip, port }: Address): string {
  const host = family === 6 ? `[${ip}]` : ip
  return port === 80 ? host : `${host}:${port}`
}

export function formatHttpUrl({ address, path }: HttpUrl): string {
  return `http://${address.key}${path}`
}
