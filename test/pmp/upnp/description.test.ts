import { beforeAll, expect, it } from 'vitest'
import { cleaned, type Description, readDescription } from '../../../src/pmp/upnp/description.ts'
import { formatHttpUrl, parseHttpUrl, resolveHttpUrl } from '../../../src/pmp/upnp/http-url.ts'
import { loadXml, type XmlReader } from '../../../src/pmp/upnp/xml.ts'
import { bytes, describe, FIREWALL, PPP1, WAN1, WAN2 } from './fake-igd.ts'

const LOCATION = 'http://192.168.1.1:5000/igd/root/desc.xml'
let read: XmlReader

beforeAll(async () => {
  read = await loadXml()
})

function description(xml: string, location = LOCATION): Description {
  const url = parseHttpUrl(location)
  if (url === undefined) throw new Error('no URL')
  return readDescription(read(bytes(xml)), url)
}

function controls(xml: string): string[] {
  return description(xml).services.map(({ control }) => formatHttpUrl(control))
}

it.each([
  ['/ctl/IPConn', 'http://192.168.1.1:5000/ctl/IPConn'],
  ['ctl/IPConn', 'http://192.168.1.1:5000/igd/root/ctl/IPConn'],
  ['http://192.168.1.1:49000/upnp/x?y=z', 'http://192.168.1.1:49000/upnp/x?y=z'],
  ['//192.168.1.1:81/x', 'http://192.168.1.1:81/x'],
  ['http://192.168.1.1', 'http://192.168.1.1:80/'],
  [' /with space ', 'http://192.168.1.1:5000/with%20space'],
])('the control URL %s is %s', (control, url) => {
  expect(controls(describe([{ type: WAN1, control }]))).toEqual([url])
})

it.each([
  'http://192.168.1.2:5000/ctl',
  'http://203.0.113.9/ctl',
  'https://192.168.1.1:5000/ctl',
  'http://192.168.1.1:0/ctl',
  'http://192.168.1.1:99999/ctl',
  'http://router.lan/ctl',
  'http://192.168.1.1@203.0.113.9/ctl',
  'http://192.168.1.1.evil/ctl',
  'http://0xc0a80101/ctl',
  'http://[::ffff:192.168.1.1]/ctl',
  '//203.0.113.9/ctl',
  'file:///etc/passwd',
  '/ctl\u0001',
  '/ctl\nX: y',
  '/ü',
  '',
  `/${'x'.repeat(2000)}`,
])('the control URL %s leads nowhere', (control) => {
  const { services, dropped } = description(describe([{ type: WAN1, control }]))
  expect([services.length, dropped]).toEqual([0, 1])
})

it('what is relative is relative to URLBase, where that is the same host', () => {
  const one = [{ type: WAN1, control: 'ctl' }]
  expect(controls(describe(one, '', '<URLBase>http://192.168.1.1:81/base/</URLBase>'))).toEqual(['http://192.168.1.1:81/base/ctl'])
  expect(controls(describe(one, '', '<URLBase>http://127.0.0.1:81/base/</URLBase>'))).toEqual(['http://192.168.1.1:5000/igd/root/ctl'])
  expect(controls(describe(one, '', '<URLBase>nonsense</URLBase>'))).toEqual(['http://192.168.1.1:5000/igd/root/ctl'])
})

it('a description over IPv6 keeps its address and our zone', () => {
  const location = parseHttpUrl('http://[fe80::1%25br-lan]:5000/desc.xml', 'eth0')
  expect(location?.address.key).toBe('[fe80::1%eth0]:5000')
  const control = location === undefined ? undefined : resolveHttpUrl('http://[fe80::1]:80/c', location)
  expect(control?.address.key).toBe('[fe80::1%eth0]:80')
})

it('services come in the order of preference, each once, in whatever spelling the device has', () => {
  const old = 'urn:dslforum-org:service:WANIPConnection:1'
  const all = [old, PPP1, FIREWALL, WAN1, WAN2, WAN1, 'urn:schemas-upnp-org:service:WANCommonInterfaceConfig:1', `${WAN1}x`]
  const { services } = description(describe(all.map((type) => ({ type, control: '/c' }))))
  expect(services.map(({ type }) => type)).toEqual([WAN2, FIREWALL, WAN1, PPP1, old])
  expect(services[0]).toMatchObject({ kind: 'WANIPConnection', version: 2 })
})

it('as many services as a router with many lines has are kept, not more', () => {
  const { services, dropped } = description(describe(Array.from({ length: 100 }, (_, i) => ({ type: WAN1, control: `/${i}` }))))
  expect([services.length, dropped]).toEqual([16, 84])
})

it('a device is named once, in one line, without what a terminal would obey', () => {
  const model = (device: string): string => description(describe([], device)).model
  expect(
    model('<friendlyName>FRITZ!Box 7590</friendlyName><manufacturer>AVM Berlin</manufacturer><modelName>FRITZ!Box 7590</modelName>'),
  ).toBe('AVM Berlin FRITZ!Box 7590')
  expect(model('<modelName>\u202eevil\u0085\n\t x \u009b[31m</modelName>')).not.toMatch(/[\p{Cc}\p{Cf}]/u)
  expect(model(`<modelName>${'x'.repeat(1000)}</modelName>`)).toHaveLength(64)
  expect(model('')).toBe('')
  expect(cleaned('a\u0000b')).toBe('a b')
})

it('a description in the style of a FRITZ!Box: services deep inside, another port for control', () => {
  const xml = `<?xml version="1.0"?><root xmlns="urn:schemas-upnp-org:device-1-0"><specVersion><major>1</major><minor>0</minor></specVersion>
<device><deviceType>urn:schemas-upnp-org:device:InternetGatewayDevice:1</deviceType><friendlyName>FRITZ!Box 7490</friendlyName>
<manufacturer>AVM Berlin</manufacturer><modelName>FRITZ!Box 7490</modelName><modelNumber>avm</modelNumber>
<iconList><icon><mimetype>image/gif</mimetype><url>/ligd.gif</url></icon></iconList>
<serviceList><service><serviceType>urn:schemas-any-com:service:Any:1</serviceType><controlURL>/igdupnp/control/any</controlURL></service></serviceList>
<deviceList><device><deviceType>urn:schemas-upnp-org:device:WANDevice:1</deviceType><serviceList><service>
<serviceType>urn:schemas-upnp-org:service:WANCommonInterfaceConfig:1</serviceType><controlURL>/igdupnp/control/WANCommonIFC1</controlURL></service></serviceList>
<deviceList><device><deviceType>urn:schemas-upnp-org:device:WANConnectionDevice:1</deviceType><serviceList>
<service><serviceType>urn:schemas-upnp-org:service:WANDSLLinkConfig:1</serviceType><controlURL>/igdupnp/control/WANDSLLinkC1</controlURL></service>
<service><serviceType>urn:schemas-upnp-org:service:WANIPConnection:1</serviceType><controlURL>/igdupnp/control/WANIPConn1</controlURL></service>
<service><serviceType>urn:schemas-upnp-org:service:WANIPv6FirewallControl:1</serviceType><controlURL>/igd2upnp/control/WANIPv6Firewall1</controlURL></service>
</serviceList></device></deviceList></device></deviceList><presentationURL>http://fritz.box</presentationURL></device></root>`
  expect(controls(xml)).toEqual([
    'http://192.168.1.1:5000/igdupnp/control/WANIPConn1',
    'http://192.168.1.1:5000/igd2upnp/control/WANIPv6Firewall1',
  ])
  expect(description(xml).model).toBe('AVM Berlin FRITZ!Box 7490')
})

it('a description in the style of a MikroTik: one connection device for each line', () => {
  const line = (
    i: number,
  ): string => `<device><deviceType>urn:schemas-upnp-org:device:WANConnectionDevice:1</deviceType><serviceList><service>
<serviceType>urn:schemas-upnp-org:service:WAN${i % 2 === 0 ? 'IP' : 'PPP'}Connection:1</serviceType><controlURL>/upnp/control/${i}</controlURL></service></serviceList></device>`
  const xml = `<root><URLBase>http://192.168.1.1:2828</URLBase><device><friendlyName>MikroTik Router</friendlyName><manufacturer>MikroTik</manufacturer>
<modelName>Router OS</modelName><deviceList><device><deviceList>${[0, 1, 2, 3].map(line).join('')}</deviceList></device></deviceList></device></root>`
  expect(controls(xml)).toEqual([0, 2, 1, 3].map((i) => `http://192.168.1.1:2828/upnp/control/${i}`))
})

it('a description in the style of an old Huawei: the DSL Forum’s names, prefixes, control beside the description', () => {
  const xml = `<?xml version="1.0" encoding="UTF-8"?><d:root xmlns:d="urn:dslforum-org:device-1-0"><d:device>
<d:deviceType>urn:dslforum-org:device:InternetGatewayDevice:1</d:deviceType><d:manufacturer>Huawei & Co</d:manufacturer><d:serviceList><d:service>
<d:serviceType>urn:dslforum-org:service:WANPPPConnection:1</d:serviceType><d:controlURL>ctrlt/WANPPPConnection_1</d:controlURL></d:service></d:serviceList></d:device></d:root>`
  expect(controls(xml)).toEqual(['http://192.168.1.1:5000/igd/root/ctrlt/WANPPPConnection_1'])
  expect(description(xml).model).toBe('Huawei & Co')
})
