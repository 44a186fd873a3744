/** A router as a UPnP device: SSDP (UPnP Device Architecture 2.0 1), description and control over HTTP (2 and 3). Not here: eventing. */
import { Address, type DatagramSocket, type Family } from '../../net/index.ts'
import { type Action, type Call, CONNECTION_2_ACTIONS, CONNECTION_ACTIONS } from './actions.ts'
import { baseOf, DESCRIPTION_PATH, descriptionOf, deviceOf, type UpnpDevice, type UpnpService } from './device.ts'
import { type HttpRequest, type HttpResponse, HttpServer } from './http.ts'
import { affects, valueFor } from './options.ts'
import { PINHOLE_ACTIONS } from './pinhole-actions.ts'
import { own, type Setting } from './setting.ts'
import { readSoap, type SoapRequest, soapAnswer, soapFault } from './soap.ts'

const SSDP_PORT = 1900
const GROUPS = { 4: Address.of('239.255.255.250', SSDP_PORT), 6: Address.of('ff02::c', SSDP_PORT) } as const
const MAX_AGE = 1800

export class UpnpServer {
  readonly #setting: Setting
  readonly #device: UpnpDevice
  readonly #http: HttpServer
  readonly #ssdp = new Map<Family, DatagramSocket>()
  readonly #others = new Map<Family, DatagramSocket>()

  constructor(setting: Setting) {
    this.#setting = setting
    this.#device = deviceOf(setting)
    this.#http = new HttpServer(setting.clock, (request) => this.#serve(request))
  }

  start(): void {
    const { host } = this.#setting
    for (const family of [4, 6] as const) {
      const on = own(host, family)
      if (on === undefined) continue
      const socket = host.bindNow({ family, port: SSDP_PORT, multicast: { on, groups: [GROUPS[family].ip] } })
      socket.handle({ datagram: (data, from) => this.#search(data, from), sendFailed: () => {}, drained: () => {}, lost: () => {} })
      this.#ssdp.set(family, socket)
    }
    this.startControl()
  }

  /** Description and control alone: who finds it was led there. */
  startControl(): void {
    this.#http.listen(this.#setting.host, this.#device.options.port ?? 5000)
  }

  url(family: Family): string {
    return `${baseOf(this.#setting, this.#device, family)}${DESCRIPTION_PATH}`
  }

  /** Says that it is there. */
  announce(): void {
    this.#notify('ssdp:alive')
  }

  /** Says that it goes. */
  leave(): void {
    this.#notify('ssdp:byebye')
  }

  /** Ends what is under way over HTTP. */
  cut(): void {
    this.#http.cut()
  }

  #notify(kind: 'ssdp:alive' | 'ssdp:byebye'): void {
    if (affects(this.#setting.faults().silent, 'upnp')) return
    for (const [family, socket] of this.#ssdp) {
      const group = GROUPS[family]
      for (const { type, usn } of this.#device.targets) {
        const lines = [
          `HOST: ${group.family === 4 ? group.ip : `[${group.ip}]`}:${group.port}`,
          `NT: ${type}`,
          `USN: ${usn}`,
          `NTS: ${kind}`,
        ]
        if (kind === 'ssdp:alive') lines.push(`LOCATION: ${this.#location(family)}`, `CACHE-CONTROL: max-age=${MAX_AGE}`, this.#server())
        socket.send(message('NOTIFY * HTTP/1.1', [...lines, ...this.#numbers()]), group)
      }
    }
  }

  #search(data: Uint8Array, from: Address): void {
    const { silent, spoofed, delay } = this.#setting.faults()
    const target = affects(silent, 'upnp') ? undefined : searchedFor(new TextDecoder('latin1').decode(data))
    if (target === undefined) return
    if (affects(spoofed, 'upnp')) this.#setting.neighbour().found(target, from)
    const late = valueFor(delay, 'upnp') ?? 0
    const { clock } = this.#setting
    if (late > 0) clock.wake(clock.now() + late, () => this.found(target, from))
    else this.found(target, from)
  }

  /** Answers a search, once for each thing that was searched for. */
  found(target: string, to: Address): void {
    const plain = this.#ssdp.get(to.family)
    const socket = plain === undefined || affects(this.#setting.faults().otherPort, 'upnp') ? this.#other(to.family) : plain
    const { answers = 'once' } = this.#device.options
    const matching = this.#matching(target)
    for (const { type, usn } of answers === 'first' ? matching.slice(0, 1) : answers === 'twice' ? [...matching, ...matching] : matching) {
      const lines = [
        `CACHE-CONTROL: max-age=${MAX_AGE}`,
        `ST: ${type}`,
        `USN: ${usn}`,
        'EXT:',
        this.#server(),
        `LOCATION: ${this.#location(to.family)}`,
        ...this.#numbers(),
      ]
      socket?.send(message('HTTP/1.1 200 OK', lines), to)
    }
  }

  /** A device of a later version is one of an earlier, too, and says so in the words that it was asked in. */
  #matching(target: string): readonly { readonly type: string; readonly usn: string }[] {
    const { targets, uuid } = this.#device
    if (target === 'ssdp:all') return targets
    const exact = targets.filter(({ type }) => type === target)
    if (exact.length > 0) return exact
    const [, name, version] = /^(urn:.*):(\d+)$/.exec(target) ?? []
    const later = targets.some(
      ({ type }) => type.slice(0, type.lastIndexOf(':')) === name && Number(type.slice(type.lastIndexOf(':') + 1)) >= Number(version),
    )
    return later ? [{ type: target, usn: `${uuid}::${target}` }] : []
  }

  #location(family: Family): string {
    const { elsewhere = false } = this.#setting.faults()
    if (typeof elsewhere === 'string') return elsewhere
    return elsewhere ? this.#setting.neighbour().url(family) : this.url(family)
  }

  #server(): string {
    return `SERVER: sallyport/1 UPnP/1.1 lab/${this.#device.version}`
  }

  #numbers(): string[] {
    return [`BOOTID.UPNP.ORG: ${this.#setting.bootId()}`, 'CONFIGID.UPNP.ORG: 1']
  }

  #other(family: Family): DatagramSocket | undefined {
    const standing = this.#others.get(family)
    const on = own(this.#setting.host, family)
    if (standing !== undefined || on === undefined) return standing
    const socket = this.#setting.host.bindNow({ family, ip: on.address.ip })
    this.#others.set(family, socket)
    return socket
  }

  #serve(request: HttpRequest): HttpResponse | undefined {
    const { silent, delay, malformed } = this.#setting.faults()
    if (affects(silent, 'upnp')) return undefined
    const flaw = valueFor(malformed, 'upnp')
    const answered = { flaw, delay: valueFor(delay, 'upnp') ?? 0 }
    const { family } = request.from
    if (flaw === 'redirect') {
      return { status: '302 Found', headers: { Location: this.#setting.neighbour().url(family) }, body: '', ...answered }
    }
    if (request.method === 'GET' && request.path === DESCRIPTION_PATH) {
      return { status: '200 OK', body: descriptionOf(this.#device, baseOf(this.#setting, this.#device, family)), ...answered }
    }
    const service = this.#device.services.find(({ path }) => request.path === `/${path}`)
    if (service === undefined) return { status: '404 Not Found', body: '', ...answered }
    if (request.method !== 'POST') return { status: '405 Method Not Allowed', body: '', ...answered }
    return { ...this.#control(service, request), ...answered }
  }

  #control(service: UpnpService, request: HttpRequest): HttpResponse {
    const soap = readSoap(request, this.#device.options.exactHeaders === true)
    const action = soap === undefined ? undefined : this.#action(service, soap)
    const call: Call = { setting: this.#setting, device: this.#device, service, args: soap?.args ?? new Map(), from: request.from }
    const outcome = action?.(call) ?? 401
    if (soap === undefined || typeof outcome === 'number') {
      return { status: '500 Internal Server Error', body: soapFault(typeof outcome === 'number' ? outcome : 401) }
    }
    const wrong = valueFor(this.#setting.faults().malformed, 'upnp') === 'opcode'
    return { status: '200 OK', body: wrong ? soapAnswer({ ...soap, action: 'ForceTermination' }, []) : soapAnswer(soap, outcome) }
  }

  #action({ type, kind }: UpnpService, soap: SoapRequest): Action | undefined {
    // A service of a later version is one of an earlier, too.
    const name = (whole: string): string => whole.slice(0, whole.lastIndexOf(':'))
    const version = (whole: string): number => Number(whole.slice(whole.lastIndexOf(':') + 1))
    if (name(soap.type) !== name(type) || !(version(soap.type) <= version(type))) return undefined
    const known: (Readonly<Record<string, Action>> | undefined)[] =
      kind === 'connection'
        ? [CONNECTION_ACTIONS, version(type) > 1 ? CONNECTION_2_ACTIONS : undefined]
        : [kind === 'pinholes' ? PINHOLE_ACTIONS : undefined]
    return known.find((actions) => actions !== undefined && Object.hasOwn(actions, soap.action))?.[soap.action]
  }
}

/** What a search is for; undefined for what is none. */
function searchedFor(text: string): string | undefined {
  const [first, ...lines] = text.split('\r\n')
  if (first !== 'M-SEARCH * HTTP/1.1') return undefined
  const headers = new Map(lines.map((line) => [line.slice(0, line.indexOf(':')).toUpperCase(), line.slice(line.indexOf(':') + 1).trim()]))
  // UPnP Device Architecture 2.0 1.3.2: in quotes.
  return headers.get('MAN') === '"ssdp:discover"' ? headers.get('ST') : undefined
}

function message(first: string, lines: readonly string[]): Uint8Array {
  return new TextEncoder().encode(`${first}\r\n${lines.map((line) => `${line}\r\n`).join('')}\r\n`)
}
