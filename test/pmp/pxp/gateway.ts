/** A LAN with one host and its router, on which a server of raw bytes listens: what it says is written down here, not computed by what is under test. */
import { createLab, type Lab, type LabHost, type LabOptions, type Router } from '../../../src/lab/index.ts'
import { Address, type DatagramSocket, type Family, type InterfaceAddress, Timers } from '../../../src/net/index.ts'
import type { Grant, MappingClient, MappingRequest, MappingTransport, Uplink } from '../../../src/pmp/protocol.ts'
import { openPxp, type Pxp } from '../../../src/pmp/pxp/index.ts'

export interface Heard {
  readonly data: Uint8Array
  readonly from: Address
  readonly time: number
}

/** What is said to a request, if anything. */
export type Reply = (data: Uint8Array, heard: Heard) => Uint8Array | readonly Uint8Array[] | undefined

export interface Scene {
  readonly lab: Lab
  readonly router: Router
  readonly pc: LabHost
  readonly uplink: Uplink
  readonly pxp: Pxp
  readonly server: DatagramSocket
  readonly heard: Heard[]
  /** Where the client's socket is, once it has sent. */
  readonly client: () => Address
  readonly restarts: MappingClient['protocol'][]
  reply: Reply
  /** To the client, or to somebody else, from the server's socket. */
  say(data: Uint8Array, to?: Address): void
  /** A socket of somebody else's. */
  stranger(host: LabHost, port?: number): Promise<DatagramSocket>
  request(port: number, more?: Partial<MappingRequest>): MappingRequest
  /** Times of what was heard, from `since` on. */
  times(since?: number): number[]
}

export interface SceneOptions extends LabOptions {
  readonly family?: Family
  readonly linkLocal?: boolean
  readonly announcements?: boolean
  /** Somebody else has the port for announcements. */
  readonly blocked?: boolean
}

export async function open(options: SceneOptions = {}): Promise<Scene> {
  const { family = 4, linkLocal = false, announcements, blocked = false, ...rest } = options
  const lab = createLab({ families: [family], ...rest })
  const router = lab.router('home')
  const pc = lab.host('pc', { behind: router })
  const fits = ({ address, internal }: InterfaceAddress): boolean =>
    !internal && address.family === family && address.scope !== 'link-local'
  const local = pc.interfaces.list().find(fits)!
  const gateway = linkLocal ? linkLocalOf(router, pc) : router.gatewayAddress(family)!
  const uplink: Uplink = { local, router: gateway }
  if (blocked) await pc.bind({ family, port: 5350 })
  const restarts: MappingClient['protocol'][] = []
  const pxp = await openPxp({
    network: pc,
    timers: new Timers(pc.clock),
    uplink,
    restarted: ({ protocol }) => restarts.push(protocol),
    ...(announcements === undefined ? {} : { announcements }),
  })
  const heard: Heard[] = []
  const ip = linkLocal ? linkLocalAt(router) : gateway.ip
  const server = await router.local.bind({ family, port: 5351, ip })
  const scene: Scene = {
    lab,
    router,
    pc,
    uplink,
    pxp,
    server,
    heard,
    client: () => heard.at(-1)!.from,
    restarts,
    reply: () => undefined,
    say: (data, to = scene.client()) => void server.send(data, to),
    stranger: (host, port = 0) => host.bind({ family, port }),
    request: (port, more = {}) => ({
      transport: 'udp',
      internal: local.address.withPort(port),
      externalPort: port,
      lifetime: 7_200_000,
      ...more,
    }),
    times: (since = 0) => heard.slice(since).map(({ time }) => time),
  }
  server.handle({
    datagram: (data, from) => {
      const one = { data, from, time: lab.clock.now() }
      heard.push(one)
      const said = scene.reply(data, one)
      for (const answer of said === undefined ? [] : said instanceof Uint8Array ? [said] : said) server.send(answer, from)
    },
    sendFailed() {},
    drained() {},
    lost() {},
  })
  return scene
}

/** As the router's own host names it. */
function linkLocalAt(router: Router): string {
  const entry = router.local.interfaces.list().find(({ address, internal }) => !internal && address.scope === 'link-local')
  return entry!.address.host
}

function linkLocalOf(router: Router, pc: LabHost): Address {
  const { name } = pc.interfaces.list().find(({ internal }) => !internal)!
  const { address } = router.local.interfaces.list().find((entry) => !entry.internal && entry.address.scope === 'link-local')!
  return Address.of(`${address.ip}%${name}`, 0)
}

export function bytes(hex: string): Uint8Array {
  return Uint8Array.from(Buffer.from(hex.replace(/\s/g, ''), 'hex'))
}

export function hexOf(data: Uint8Array): string {
  return Buffer.from(data).toString('hex')
}

function uint32(value: number): string {
  return value.toString(16).padStart(8, '0')
}

function uint16(value: number): string {
  return value.toString(16).padStart(4, '0')
}

/** 203.0.113.9 */
export const EXTERNAL = 'cb007109'

/** NAT-PMP's answer to a request for the external address. */
export function addressAnswer(epoch: number, ip = EXTERNAL): Uint8Array {
  return bytes(`00 80 0000 ${uint32(epoch)} ${ip}`)
}

export interface MappingAnswer {
  readonly epoch?: number
  readonly code?: number
  readonly internal: number
  readonly external?: number
  readonly lifetime?: number
  readonly transport?: MappingTransport
}

export function mappingAnswer({
  epoch = 1000,
  code = 0,
  internal,
  external = internal,
  lifetime = 7200,
  transport = 'udp',
}: MappingAnswer): Uint8Array {
  return bytes(
    `00 ${transport === 'udp' ? '81' : '82'} ${uint16(code)} ${uint32(epoch)} ${uint16(internal)} ${uint16(external)} ${uint32(lifetime)}`,
  )
}

/** A NAT-PMP server that gives what is asked for; its clock goes with the lab's, from `epoch` on. */
export function natPmpServer(scene: Scene, epoch = 1000): Reply {
  return (data) => {
    if (data[0] !== 0) return undefined
    const now = epoch + Math.floor(scene.lab.clock.now() / 1000)
    if (data[1] === 0) return addressAnswer(now)
    const view = new DataView(data.buffer, data.byteOffset)
    const lifetime = view.getUint32(8)
    return mappingAnswer({
      epoch: now,
      internal: view.getUint16(4),
      external: lifetime === 0 ? 0 : view.getUint16(6),
      lifetime,
      transport: data[1] === 1 ? 'udp' : 'tcp',
    })
  }
}

export interface PcpOverrides {
  readonly epoch?: number
  readonly code?: number
  readonly lifetime?: number
  readonly external?: number
  /** Of the external address, 32 digits. */
  readonly ip?: string
  /** Of the first bytes. */
  readonly version?: number
  /** Instead of the request's. */
  readonly nonce?: string
  readonly protocol?: number
  readonly internal?: number
  /** After the body. */
  readonly options?: string
  /** Without a body. */
  readonly short?: boolean
}

/** The answer to a MAP or ANNOUNCE request. */
export function pcpAnswer(request: Uint8Array, overrides: PcpOverrides = {}): Uint8Array {
  const view = new DataView(request.buffer, request.byteOffset)
  const { epoch = 1000, code = 0, version = 2, lifetime = view.getUint32(4), short = false, options = '' } = overrides
  const head = `${version.toString(16).padStart(2, '0')} ${(0x80 | request[1]!).toString(16)} 00 ${code.toString(16).padStart(2, '0')} ${uint32(lifetime)} ${uint32(epoch)} ${'00'.repeat(12)}`
  if (request[1] !== 1 || short) return bytes(head)
  const { external = view.getUint16(42), nonce = hexOf(request.subarray(24, 36)), protocol = request[36]! } = overrides
  const { internal = view.getUint16(40), ip = `${'00'.repeat(10)}ffff${EXTERNAL}` } = overrides
  return bytes(`${head} ${nonce} ${protocol.toString(16).padStart(2, '0')} 000000 ${uint16(internal)} ${uint16(external)} ${ip} ${options}`)
}

export function pcpServer(scene: Scene, overrides: PcpOverrides & { readonly start?: number } = {}): Reply {
  return (data) => {
    if (data[0] !== 2) return undefined
    return pcpAnswer(data, { epoch: (overrides.start ?? 1000) + Math.floor(scene.lab.clock.now() / 1000), ...overrides })
  }
}

/** As a test reads it. */
export function told({ external, lifetime }: Grant): string {
  return `${external} for ${lifetime / 1000} s`
}
