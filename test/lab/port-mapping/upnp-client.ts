/** UPnP by hand: searches, GETs and SOAP texts. */
import type { LabHost } from '../../../src/lab/index.ts'
import type { Address, Family } from '../../../src/net/index.ts'
import type { Lan } from './client.ts'

export const IGD = 'urn:schemas-upnp-org:device:InternetGatewayDevice'
export const IP_CONNECTION = 'urn:schemas-upnp-org:service:WANIPConnection'
export const FIREWALL = 'urn:schemas-upnp-org:service:WANIPv6FirewallControl:1'

export function search(target: string, man = '"ssdp:discover"'): string {
  return `M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nMAN: ${man}\r\nMX: 2\r\nST: ${target}\r\n\r\n`
}

export function header(message: string, name: string): string | undefined {
  return new RegExp(`^${name}: *(.*?)\\r$`, 'im').exec(message)?.[1]
}

export interface HttpAnswer {
  readonly status: number
  readonly head: string
  readonly body: string
  /** The stream was ended by the router. */
  readonly ended: boolean
}

/** Sends a request as it is, and takes what comes within so many milliseconds. */
export async function http(
  lan: Lan,
  text: string,
  options: { to?: Address; family?: Family; host?: LabHost; within?: number } = {},
): Promise<HttpAnswer> {
  const { family = 4, host = lan.host, within = 200 } = options
  const to = options.to ?? lan.gateway(family).withPort(5000)
  const stream = await lan.lab.until(host.streams.dial({ to, from: lan.own(family, host) }))
  let answer = ''
  let ended = false
  stream.handle({
    data: (chunk) => {
      answer += new TextDecoder('latin1').decode(chunk)
    },
    drained: () => {},
    closed: () => {
      ended = true
    },
  })
  stream.write(new TextEncoder().encode(text))
  await lan.lab.run(within)
  stream.destroy()
  const end = answer.indexOf('\r\n\r\n')
  const head = end < 0 ? answer : answer.slice(0, end + 2)
  return { status: Number(/^HTTP\/1\.1 (\d{3})/.exec(answer)?.[1] ?? 0), head, body: end < 0 ? '' : answer.slice(end + 4), ended }
}

export function get(lan: Lan, path = '/rootDesc.xml', options: Parameters<typeof http>[2] = {}): Promise<HttpAnswer> {
  return http(lan, `GET ${path} HTTP/1.1\r\nHost: 192.168.1.1:5000\r\nConnection: close\r\n\r\n`, options)
}

export interface Soap {
  readonly path?: string
  readonly type?: string
  readonly header?: string
}

export function soapText(action: string, args: Readonly<Record<string, string | number>>, soap: Soap = {}): string {
  const { path = '/ctl/IPConn', type = `${IP_CONNECTION}:2`, header: name = 'SOAPAction' } = soap
  const fields = Object.entries(args).map(([key, value]) => `<${key}>${value}</${key}>`)
  const body =
    '<?xml version="1.0"?>\n<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/" ' +
    's:encodingStyle="http://schemas.xmlsoap.org/soap/encoding/"><s:Body>' +
    `<u:${action} xmlns:u="${type}">${fields.join('')}</u:${action}></s:Body></s:Envelope>`
  return (
    `POST ${path} HTTP/1.1\r\nHost: 192.168.1.1:5000\r\nContent-Type: text/xml; charset="utf-8"\r\n` +
    `Content-Length: ${body.length}\r\n${name}: "${type}#${action}"\r\nConnection: close\r\n\r\n${body}`
  )
}

/** The arguments of the answer, or the error code. */
export async function call(
  lan: Lan,
  action: string,
  args: Readonly<Record<string, string | number>> = {},
  options: Soap & Parameters<typeof http>[2] = {},
): Promise<Record<string, string> | number> {
  const answer = await http(lan, soapText(action, args, options), options)
  const code = /<errorCode>(\d+)<\/errorCode>/.exec(answer.body)?.[1]
  if (code !== undefined) return answer.status === 500 ? Number(code) : -answer.status
  if (answer.status !== 200 || !answer.body.includes(`<u:${action}Response `)) return -answer.status
  return Object.fromEntries([...answer.body.matchAll(/<(\w+)>([^<]*)<\/\1>/g)].map(([, name, value]) => [name, value]))
}

export interface Mapping {
  readonly client?: string
  readonly external?: number
  readonly internal?: number
  readonly lease?: number
  readonly protocol?: string
  readonly remote?: string
}

export function mappingArgs(lan: Lan, mapping: Mapping = {}): Record<string, string | number> {
  const { client = lan.own().ip, external = 7000, internal = 5000, lease = 3600, protocol = 'UDP', remote = '' } = mapping
  return {
    NewRemoteHost: remote,
    NewExternalPort: external,
    NewProtocol: protocol,
    NewInternalPort: internal,
    NewInternalClient: client,
    NewEnabled: 1,
    NewPortMappingDescription: 'a test &amp; more',
    NewLeaseDuration: lease,
  }
}
