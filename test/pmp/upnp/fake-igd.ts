/**
 * A router's UPnP for tests, on a virtual host: raw text over streams and datagrams, every part of it replaceable. Without being told
 * otherwise it is an Internet Gateway Device of version 1 that keeps its word.
 */
import { createLab, type Lab, type LabHost, type LabOptions, type LinkOptions } from '../../../src/lab/index.ts'
import { Address, type DatagramSocket, type Family, type Stream, Timers } from '../../../src/net/index.ts'
import { loadXml, UpnpClient, type UpnpClientOptions } from '../../../src/pmp/upnp/index.ts'

export const WAN1 = 'urn:schemas-upnp-org:service:WANIPConnection:1'
export const WAN2 = 'urn:schemas-upnp-org:service:WANIPConnection:2'
export const PPP1 = 'urn:schemas-upnp-org:service:WANPPPConnection:1'
export const FIREWALL = 'urn:schemas-upnp-org:service:WANIPv6FirewallControl:1'
export const IGD1 = 'urn:schemas-upnp-org:device:InternetGatewayDevice:1'
export const UUID = 'uuid:11111111-2222-3333-4444-555555555555'

export interface Asked {
  readonly method: string
  readonly path: string
  /** As it came: request line and headers. */
  readonly head: string
  readonly action: string
  readonly type: string
  readonly values: ReadonlyMap<string, string>
  readonly from: Address
}

export interface Held {
  client: string
  port: string
  lease: string
  enabled: string
}

/** What is sent back: text, or whatever is done to the stream. Undefined leaves it to the device. */
export type Answer = string | ((stream: Stream) => void) | undefined

export class FakeIgd {
  readonly asked: Asked[] = []
  readonly searches: { readonly target: string; readonly from: Address }[] = []
  /** By `udp:5001`. */
  readonly held = new Map<string, Held>()
  readonly holes = new Map<string, string>()
  readonly host: LabHost
  services: readonly { readonly type: string; readonly control: string }[] = [{ type: WAN1, control: '/ctl' }]
  externalIp = '203.0.113.77'
  status = 'Connected'
  /** Error codes by action, until they are taken out. */
  readonly faults = new Map<string, number>()
  location: string
  bootId: string | undefined = '7'
  /** Comes before everything else. */
  answer: (asked: Asked) => Answer = () => undefined
  description: () => string = () => describe(this.services)
  /** The answers to a search. */
  found: (target: string) => readonly string[] = (target) =>
    target.includes('InternetGatewayDevice:1') ? [searchAnswer({ location: this.location, target, bootId: this.bootId })] : []
  #udp: DatagramSocket | undefined
  #holes = 0

  constructor(host: LabHost, location: string) {
    this.host = host
    this.location = location
  }

  get actions(): string[] {
    return this.asked.map(({ action, method }) => (action === '' ? method : action))
  }

  /** Values of the calls of one action, in order. */
  calls(action: string): ReadonlyMap<string, string>[] {
    return this.asked.filter((one) => one.action === action).map(({ values }) => values)
  }

  async start(family: Family, port = 5000): Promise<void> {
    await this.host.listen({ family, port }, (stream) => this.#serve(stream))
    const udp = await this.host.bind({ family, port: 1900 })
    this.#udp = udp
    udp.handle({
      datagram: (data, from) => {
        const target = /^ST: (.*)$/m.exec(text(data))?.[1]?.trim()
        if (target === undefined) return
        this.searches.push({ target, from })
        for (const one of this.found(target)) udp.send(bytes(one), from)
      },
      sendFailed: () => {},
      drained: () => {},
      lost: () => {},
    })
  }

  /** To the group of everybody. */
  announce(message: string, family: Family = 4): void {
    this.#udp?.send(bytes(message), Address.of(family === 4 ? '239.255.255.250' : 'ff02::c', 1900))
  }

  #serve(stream: Stream): void {
    let got = ''
    let answered = false
    stream.handle({
      data: (chunk) => {
        got += text(chunk)
        const end = got.indexOf('\r\n\r\n')
        if (answered || end < 0) return
        const length = Number(/^Content-Length: (\d+)$/m.exec(got)?.[1] ?? 0)
        if (got.length < end + 4 + length) return
        answered = true
        this.#answer(stream, readRequest(got.slice(0, end), got.slice(end + 4), stream.remote))
      },
      drained: () => {},
      closed: () => {},
    })
  }

  #answer(stream: Stream, asked: Asked): void {
    this.asked.push(asked)
    const answer = this.answer(asked) ?? (asked.method === 'GET' ? ok(this.description()) : this.act(asked))
    if (typeof answer === 'function') {
      answer(stream)
      return
    }
    stream.write(bytes(answer))
    stream.end()
  }

  /** What the device does of itself. */
  act({ action, type, values }: Asked): string {
    const fault = this.faults.get(action)
    if (fault !== undefined) return faultOf(fault)
    const value = (name: string): string => values.get(name) ?? ''
    const key = `${value('NewProtocol').toLowerCase()}:${value('NewExternalPort')}`
    const add = (at: string): void => {
      const [client, port, lease] = [value('NewInternalClient'), value('NewInternalPort'), value('NewLeaseDuration')]
      this.held.set(at, { client, port, lease, enabled: value('NewEnabled') })
    }
    switch (action) {
      case 'GetStatusInfo':
        return response(type, action, { NewConnectionStatus: this.status, NewLastConnectionError: 'ERROR_NONE', NewUptime: '60' })
      case 'GetExternalIPAddress':
        return response(type, action, { NewExternalIPAddress: this.externalIp })
      case 'AddPortMapping': {
        const there = this.held.get(key)
        if (there !== undefined && there.client !== value('NewInternalClient')) return faultOf(718)
        add(key)
        return response(type, action, {})
      }
      case 'AddAnyPortMapping': {
        let port = Number(value('NewExternalPort'))
        const at = (): string => `${value('NewProtocol').toLowerCase()}:${port}`
        while (this.held.has(at())) port++
        add(at())
        return response(type, action, { NewReservedPort: String(port) })
      }
      case 'GetSpecificPortMappingEntry': {
        const there = this.held.get(key)
        if (there === undefined) return faultOf(714)
        return response(type, action, {
          NewInternalPort: there.port,
          NewInternalClient: there.client,
          NewEnabled: there.enabled,
          NewPortMappingDescription: 'x',
          NewLeaseDuration: there.lease,
        })
      }
      case 'DeletePortMapping':
        return this.held.delete(key) ? response(type, action, {}) : faultOf(714)
      case 'GetFirewallStatus':
        return response(type, action, { FirewallEnabled: '1', InboundPinholeAllowed: '1' })
      case 'AddPinhole':
        this.holes.set(String(++this.#holes), value('InternalPort'))
        return response(type, action, { UniqueID: String(this.#holes) })
      case 'UpdatePinhole':
        return this.holes.has(value('UniqueID')) ? response(type, action, {}) : faultOf(704)
      case 'DeletePinhole':
        return this.holes.delete(value('UniqueID')) ? response(type, action, {}) : faultOf(704)
      default:
        return faultOf(401)
    }
  }
}

export interface Scene {
  readonly lab: Lab
  readonly host: LabHost
  readonly igd: FakeIgd
  readonly client: UpnpClient
  readonly timers: Timers
  readonly router: Address
  readonly local: Address
  /** Times at which the client said that the router restarted. */
  readonly restarts: number[]
  /** Another host of the link, not the router. */
  other(): LabHost
}

/** A host, its router with UPnP, and a client that has not been asked anything. */
export async function scene(
  options: LabOptions & { readonly family?: Family; readonly description?: string; readonly link?: LinkOptions } = {},
): Promise<Scene> {
  await loadXml()
  const { family = 4, description, link, ...rest } = options
  const lab = createLab({ families: [4, 6], ...rest })
  const home = lab.router('home')
  const host = lab.host('host', { behind: home, ...(link === undefined ? {} : { link }) })
  const router = home.gatewayAddress(family) as Address
  const igd = new FakeIgd(home.local, `http://${family === 4 ? router.ip : `[${router.ip}]`}:5000/desc.xml`)
  await igd.start(family)
  const timers = new Timers(host.clock)
  const entry = host.interfaces.list().find(({ address, internal }) => {
    return !internal && address.family === family && address.scope !== 'link-local'
  })
  if (entry === undefined) throw new Error('the host has no address')
  const restarts: number[] = []
  const uplink = { local: entry, router }
  const given: UpnpClientOptions = { network: host, timers, uplink, restarted: () => restarts.push(lab.clock.now()) }
  const client = new UpnpClient(description === undefined ? given : { ...given, description })
  const other = (): LabHost => lab.host('other', { behind: home })
  return { lab, host, igd, client, timers, router, local: entry.address, restarts, other }
}

export function bytes(value: string): Uint8Array {
  return new TextEncoder().encode(value)
}

export function text(value: Uint8Array): string {
  return new TextDecoder().decode(value)
}

function readRequest(head: string, body: string, from: Address): Asked {
  const [method = '', path = ''] = head.split(' ')
  const action = /^SOAPAction: "([^"#]+)#(\w+)"$/m.exec(head)
  const values = new Map<string, string>()
  for (const [, name = '', value = ''] of body.matchAll(/<(\w+)>([^<]*)<\/\1>/g)) values.set(name, value)
  return { method, path, head, action: action?.[2] ?? '', type: action?.[1] ?? '', values, from }
}

export function ok(body: string, headers = ''): string {
  return `HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nContent-Length: ${bytes(body).length}\r\n${headers}\r\n${body}`
}

export function response(type: string, action: string, values: Readonly<Record<string, string>>): string {
  const inner = Object.entries(values).map(([name, value]) => `<${name}>${value}</${name}>`)
  return ok(envelope(`<u:${action}Response xmlns:u="${type}">${inner.join('')}</u:${action}Response>`))
}

export function faultOf(code: number): string {
  const detail = `<UPnPError xmlns="urn:schemas-upnp-org:control-1-0"><errorCode>${code}</errorCode><errorDescription>No</errorDescription></UPnPError>`
  const body = envelope(`<s:Fault><faultcode>s:Client</faultcode><faultstring>UPnPError</faultstring><detail>${detail}</detail></s:Fault>`)
  return `HTTP/1.1 500 Internal Server Error\r\nContent-Length: ${body.length}\r\n\r\n${body}`
}

export function envelope(inner: string): string {
  return `<?xml version="1.0"?><s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body>${inner}</s:Body></s:Envelope>`
}

export function describe(services: readonly { readonly type: string; readonly control: string }[], device = '', root = ''): string {
  const list = services.map(({ type, control }) => {
    return `<service><serviceType>${type}</serviceType><serviceId>x</serviceId><controlURL>${control}</controlURL><SCPDURL>/x</SCPDURL></service>`
  })
  return `<?xml version="1.0"?><root xmlns="urn:schemas-upnp-org:device-1-0">${root}<device>${device}<deviceList><device><deviceList><device><serviceList>${list.join('')}</serviceList></device></deviceList></device></deviceList></device></root>`
}

export function searchAnswer(given: {
  readonly location: string
  readonly target?: string
  readonly bootId?: string | undefined
  readonly uuid?: string
}): string {
  const { location, target = IGD1, bootId, uuid = UUID } = given
  const boot = bootId === undefined ? '' : `BOOTID.UPNP.ORG: ${bootId}\r\n`
  return `HTTP/1.1 200 OK\r\nCACHE-CONTROL: max-age=120\r\nST: ${target}\r\nUSN: ${uuid}::${target}\r\nEXT:\r\nLOCATION: ${location}\r\n${boot}\r\n`
}

export function notification(
  nts: string,
  given: { readonly location?: string; readonly bootId?: string; readonly uuid?: string; readonly type?: string } = {},
): string {
  const { location, bootId, uuid = UUID, type = IGD1 } = given
  const lines = ['NOTIFY * HTTP/1.1', 'HOST: 239.255.255.250:1900', `NT: ${type}`, `NTS: ${nts}`, `USN: ${uuid}::${type}`]
  if (location !== undefined) lines.push(`LOCATION: ${location}`)
  if (bootId !== undefined) lines.push(`BOOTID.UPNP.ORG: ${bootId}`)
  return `${lines.join('\r\n')}\r\n\r\n`
}
