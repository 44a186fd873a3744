/** SOAP as clients of UPnP routers really send it, and as the routers answer. Not a reader of XML: elements with text in them are arguments. */
import type { HttpRequest } from './http.ts'

export interface SoapRequest {
  readonly type: string
  readonly action: string
  readonly args: ReadonlyMap<string, string>
}

export type SoapArguments = readonly (readonly [name: string, value: string | number])[]

/** WANIPConnection:2 2.5, WANIPv6FirewallControl:1 2.6, UPnP Device Architecture 2.0 3.2.2. */
const ERRORS: Readonly<Record<number, string>> = {
  401: 'Invalid Action',
  402: 'Invalid Args',
  501: 'Action Failed',
  606: 'Action not authorized',
  701: 'PinholeSpaceExhausted',
  702: 'FirewallDisabled',
  704: 'NoSuchEntry',
  705: 'ProtocolNotSupported',
  706: 'InternalPortWildcardingNotAllowed',
  707: 'ProtocolWildcardingNotAllowed',
  709: 'NoTrafficReceived',
  713: 'SpecifiedArrayIndexInvalid',
  714: 'NoSuchEntryInArray',
  716: 'WildCardNotPermittedInExtPort',
  718: 'ConflictInMappingEntry',
  724: 'SamePortValuesRequired',
  725: 'OnlyPermanentLeasesSupported',
  726: 'RemoteHostOnlySupportsWildcard',
  728: 'NoPortMapsAvailable',
  732: 'WildCardNotPermittedInIntPort',
}

/** What is asked for; undefined for what does not say. */
export function readSoap({ headers, body }: HttpRequest, exactHeader: boolean): SoapRequest | undefined {
  const header = headers.find(([name]) => (exactHeader ? name === 'SOAPAction' : name.toLowerCase() === 'soapaction'))?.[1]
  const [, type, action] = /^"?([^"#]+)#([A-Za-z0-9]+)"?$/.exec(header ?? '') ?? []
  if (type === undefined || action === undefined || !new RegExp(`<(?:[\\w-]+:)?${action}[\\s/>]`).test(body)) return undefined
  const args = new Map<string, string>()
  for (const [, name = '', empty, text = ''] of body.matchAll(/<(?:[\w-]+:)?(\w+)(?:\s[^<>]*?)?(?:(\/)>|>([^<]*)<\/)/g)) {
    args.set(name, empty === undefined ? unescaped(text.trim()) : '')
  }
  return { type, action, args }
}

export function soapAnswer({ type, action }: SoapRequest, out: SoapArguments): string {
  const args = out.map(([name, value]) => `<${name}>${escaped(String(value))}</${name}>`).join('')
  return envelope(`<u:${action}Response xmlns:u="${type}">${args}</u:${action}Response>`)
}

export function soapFault(code: number): string {
  return envelope(
    '<s:Fault><faultcode>s:Client</faultcode><faultstring>UPnPError</faultstring><detail>' +
      `<UPnPError xmlns="urn:schemas-upnp-org:control-1-0"><errorCode>${code}</errorCode>` +
      `<errorDescription>${ERRORS[code] ?? 'Error'}</errorDescription></UPnPError></detail></s:Fault>`,
  )
}

function envelope(body: string): string {
  return (
    '<?xml version="1.0"?>\r\n<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/" ' +
    `s:encodingStyle="http://schemas.xmlsoap.org/soap/encoding/"><s:Body>${body}</s:Body></s:Envelope>\r\n`
  )
}

const NAMED: Readonly<Record<string, string>> = { lt: '<', gt: '>', quot: '"', apos: "'", amp: '&' }

function unescaped(text: string): string {
  return text.replace(/&(lt|gt|quot|apos|amp);/g, (_, name: string) => NAMED[name] ?? '')
}

function escaped(text: string): string {
  return text.replace(/[<>"'&]/g, (character) => `&${Object.keys(NAMED).find((name) => NAMED[name] === character)};`)
}
