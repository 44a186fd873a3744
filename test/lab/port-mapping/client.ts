/** A LAN with a router that speaks port mapping protocols, and raw clients on it: bytes and texts as the protocols have them, nothing of src/pmp. */
import { createLab, type Lab, type LabHost, type PortMappingOptions, type Router, type RouterOptions } from '../../../src/lab/index.ts'
import { Address, type DatagramSocket, type Family } from '../../../src/net/index.ts'
import { open, say, type Talker, texts } from '../talk.ts'

export interface Answer {
  readonly data: Uint8Array
  readonly from: Address
  readonly time: number
}

export class Lan {
  readonly lab: Lab
  readonly router: Router
  readonly host: LabHost
  readonly outside: LabHost

  constructor(options: PortMappingOptions | true = true, router: RouterOptions = {}, families: readonly Family[] = [4]) {
    this.lab = createLab({ families })
    this.router = this.lab.router('home', { ...router, portMapping: options })
    this.host = this.lab.host('a', { behind: this.router })
    this.outside = this.lab.host('outside')
  }

  get portMapping(): NonNullable<Router['portMapping']> {
    return this.router.portMapping!
  }

  /** The router's external IPv4 address. */
  get external(): Address {
    return this.router.addresses.find(({ family }) => family === 4)!
  }

  gateway(family: Family = 4): Address {
    return this.router.gatewayAddress(family)!
  }

  own(family: Family = 4, host = this.host): Address {
    return host.addresses.find((address) => address.family === family)!
  }

  /** What comes back for a datagram to a port of the router within so many milliseconds. */
  async ask(
    data: Uint8Array | string,
    port: number,
    options: { family?: Family; host?: LabHost; within?: number } = {},
  ): Promise<Answer[]> {
    const { family = 4, host = this.host, within = 100 } = options
    const { socket, answers } = await ear(host, family)
    socket.send(typeof data === 'string' ? new TextEncoder().encode(data) : data, this.gateway(family).withPort(port))
    await this.lab.run(within)
    socket.close()
    return answers
  }

  /** The one answer of port 5351. */
  async pxp(request: Uint8Array, options: { family?: Family; host?: LabHost } = {}): Promise<Uint8Array> {
    const answers = await this.ask(request, 5351, options)
    if (answers.length !== 1) throw new Error(`${answers.length} answers`)
    return answers[0]!.data
  }

  /** Whether somebody on the internet gets through to a socket of the host by an external port. */
  async reached(talker: Talker, to: Address): Promise<boolean> {
    const before = talker.heard.length
    const stranger = await open(this.outside, { family: to.family })
    say(stranger, to, `hello ${before}`)
    await this.lab.run(100)
    stranger.socket.close()
    return texts(talker).includes(`hello ${before}`)
  }

  open(port: number, family: Family = 4, host = this.host): Promise<Talker> {
    return open(host, { family, port, ip: this.own(family, host).ip })
  }
}

export async function ear(
  host: LabHost,
  family: Family,
  group?: { readonly port: number; readonly ip: string },
): Promise<{ socket: DatagramSocket; answers: Answer[] }> {
  const on = host.interfaces
    .list()
    .find(({ internal, address }) => !internal && address.family === family && address.scope !== 'link-local')!
  const socket = await host.bind(
    group === undefined ? { family, ip: on.address.ip } : { family, port: group.port, multicast: { on, groups: [group.ip] } },
  )
  const answers: Answer[] = []
  socket.handle({
    datagram: (data, from) => answers.push({ data, from, time: host.clock.now() }),
    sendFailed: () => {},
    drained: () => {},
    lost: () => {},
  })
  return { socket, answers }
}

export function view(data: Uint8Array): DataView {
  return new DataView(data.buffer, data.byteOffset, data.byteLength)
}

export function hex(data: Uint8Array): string {
  return Buffer.from(data).toString('hex')
}

export function bytes(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text.replaceAll(' ', ''), 'hex'))
}

/** A NAT-PMP request for a mapping, RFC 6886 3.3. */
export function natPmpMap(internal: number, external: number, seconds: number, opcode = 1): Uint8Array {
  const data = new Uint8Array(12)
  view(data).setUint8(1, opcode)
  view(data).setUint16(4, internal)
  view(data).setUint16(6, external)
  view(data).setUint32(8, seconds)
  return data
}

export interface PcpMap {
  readonly client: Address
  readonly internal: number
  readonly external?: number
  readonly externalAddress?: Address
  readonly seconds?: number
  readonly protocol?: number
  readonly nonce?: string
  readonly options?: string
}

export const NONCE = '00112233445566778899aabb'

/** A PCP MAP request, RFC 6887 11.1. */
export function pcpMap({ client, internal, external = 0, seconds = 3600, protocol = 17, nonce = NONCE, ...rest }: PcpMap): Uint8Array {
  const options = bytes(rest.options ?? '')
  const data = new Uint8Array(60 + options.length)
  data.set([2, 1])
  view(data).setUint32(4, seconds)
  data.set(mapped(client), 8)
  data.set(bytes(nonce), 24)
  data[36] = protocol
  view(data).setUint16(40, internal)
  view(data).setUint16(42, external)
  data.set(mapped(rest.externalAddress ?? Address.any(client.family)), 44)
  data.set(options, 60)
  return data
}

export function mapped(address: Address): Uint8Array {
  return address.family === 6 ? address.bytes : bytes(`00000000000000000000ffff${hex(address.bytes)}`)
}

export interface PcpAnswer {
  readonly version: number
  readonly opcode: number
  readonly result: number
  readonly seconds: number
  readonly epoch: number
  readonly nonce: string
  readonly internal: number
  readonly external: number
  readonly address: string
}

export function readPcp(data: Uint8Array): PcpAnswer {
  const v = view(data)
  const header = { version: v.getUint8(0), opcode: v.getUint8(1), result: v.getUint8(3), seconds: v.getUint32(4), epoch: v.getUint32(8) }
  if (data.length < 60) return { ...header, nonce: '', internal: 0, external: 0, address: '' }
  const address = Address.fromBytes(data.subarray(44, 60), 0).ip
  return { ...header, nonce: hex(data.subarray(24, 36)), internal: v.getUint16(40), external: v.getUint16(42), address }
}
