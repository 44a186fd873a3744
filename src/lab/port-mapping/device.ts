/** The Internet Gateway Device of a router: its services, its types as SSDP tells them, and its description. */
import type { Family } from '../../net/index.ts'
import type { UpnpConnection, UpnpOptions } from './options.ts'
import type { Setting } from './setting.ts'

export interface UpnpService {
  readonly type: string
  readonly id: string
  /** Where commands are sent, from the root on, without a slash before it. */
  readonly path: string
  readonly kind: 'connection' | 'pinholes' | 'statistics'
  /** Of a connection. */
  readonly status: string
}

export interface UpnpDevice {
  readonly options: UpnpOptions
  readonly version: 1 | 2
  readonly uuid: string
  readonly services: readonly UpnpService[]
  /** What there is to be searched for, with the unique name of each. */
  readonly targets: readonly { readonly type: string; readonly usn: string }[]
}

export const DESCRIPTION_PATH = '/rootDesc.xml'

export function deviceOf(setting: Setting): UpnpDevice {
  const { upnp } = setting.options
  const options = typeof upnp === 'object' ? upnp : {}
  const { version = 2, connections = [{}] } = options
  const domain = domainOf(options)
  const services: UpnpService[] = [
    {
      type: `${domain}:service:WANCommonInterfaceConfig:1`,
      id: 'WANCommonIFC1',
      path: 'ctl/CmnIfCfg',
      kind: 'statistics',
      status: '',
    },
    ...connections.map((connection, index) => connectionOf(connection, index, version, domain)),
  ]
  // The firewall of IPv6 is a service of version 2, where there is IPv6.
  if (version === 2 && setting.host.addresses.some(({ family }) => family === 6)) {
    services.push({
      type: `${domain}:service:WANIPv6FirewallControl:1`,
      id: 'WANIPv6Firewall1',
      path: 'ctl/IP6FCtl',
      kind: 'pinholes',
      status: '',
    })
  }
  const hex = Array.from(setting.random.bytes(16), (byte) => byte.toString(16).padStart(2, '0')).join('')
  const uuid = `uuid:${hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-')}`
  const types = ['InternetGatewayDevice', 'WANDevice', 'WANConnectionDevice'].map((name) => `${domain}:device:${name}:${version}`)
  const named = ['upnp:rootdevice', ...types, ...services.map(({ type }) => type)]
  const targets = [{ type: uuid, usn: uuid }, ...[...new Set(named)].map((type) => ({ type, usn: `${uuid}::${type}` }))]
  return { options, version, uuid, services, targets }
}

function connectionOf(
  { service = 'WANIPConnection', status = 'Connected' }: UpnpConnection,
  index: number,
  version: 1 | 2,
  domain: string,
): UpnpService {
  // There never was a second version of the PPP service.
  const number = service === 'WANIPConnection' ? version : 1
  const name = service === 'WANIPConnection' ? 'IPConn' : 'PPPConn'
  const path = `ctl/${name}${index === 0 ? '' : index + 1}`
  return { type: `${domain}:service:${service}:${number}`, id: `${service}${index + 1}`, path, kind: 'connection', status }
}

function domainOf({ dslForum = false }: UpnpOptions): string {
  return dslForum ? 'urn:dslforum-org' : 'urn:schemas-upnp-org'
}

/** `http://192.168.1.1:5000`, as a host of the LAN reaches it. */
export function baseOf({ host }: Setting, device: UpnpDevice, family: Family): string {
  const ip = host.addresses.find((address) => address.family === family)?.ip ?? ''
  return `http://${family === 4 ? ip : `[${ip}]`}:${device.options.port ?? 5000}`
}

export function descriptionOf(device: UpnpDevice, base: string): string {
  const { options, version, uuid, services } = device
  const { controlUrl = 'root' } = options
  const domain = domainOf(options)
  const prefix = controlUrl === 'absolute' ? `${base}/` : controlUrl === 'base' ? '' : '/'
  const service = ({ type, id, path }: UpnpService): string =>
    `<service><serviceType>${type}</serviceType><serviceId>urn:upnp-org:serviceId:${id}</serviceId>` +
    `<SCPDURL>${prefix}${path}.xml</SCPDURL><controlURL>${prefix}${path}</controlURL><eventSubURL>${prefix}evt/${id}</eventSubURL></service>`
  const list = (kinds: readonly UpnpService['kind'][]): string => {
    return `<serviceList>${services
      .filter(({ kind }) => kinds.includes(kind))
      .map(service)
      .join('')}</serviceList>`
  }
  const head = (name: string, title: string): string =>
    `<deviceType>${domain}:device:${name}:${version}</deviceType><friendlyName>${title}</friendlyName>` +
    `<manufacturer>sallyport</manufacturer><modelName>Virtual router</modelName><modelNumber>${version}</modelNumber><UDN>${uuid}</UDN>`
  return (
    `<?xml version="1.0"?>\r\n<root xmlns="urn:schemas-upnp-org:device-1-0"><specVersion><major>1</major><minor>${version - 1}</minor></specVersion>` +
    (controlUrl === 'base' ? `<URLBase>${base}/</URLBase>` : '') +
    `<device>${head('InternetGatewayDevice', 'Router &amp; modem')}<deviceList><device>${head('WANDevice', 'WAN')}${list(['statistics'])}` +
    `<deviceList><device>${head('WANConnectionDevice', 'Connection')}${list(['connection', 'pinholes'])}</device></deviceList>` +
    `</device></deviceList><presentationURL>${base}/</presentationURL></device></root>\r\n`
  )
}
