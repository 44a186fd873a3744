/** One client of ours, one relay and one peer on the lab, and a record of what the client tells. */
import type { SallyportError } from '../../../src/errors.ts'
import { createLab, type Lab, type LabHost, type LabOptions } from '../../../src/lab/index.ts'
import { type Address, Timers } from '../../../src/net/index.ts'
import { type Allocation, RelayClient, type RelayClientOptions } from '../../../src/relay/client/index.ts'
import { parseServerUri } from '../../../src/stun/index.ts'
import { open, type Talker } from '../../lab/talk.ts'
import { CountingNetwork } from '../../traversal/counting-network.ts'
import { FakeServer, type FakeServerOptions } from './fake-server.ts'

export type Told =
  | { readonly what: 'measured'; readonly at: number; readonly rtt: number | undefined }
  | { readonly what: 'allocated'; readonly at: number; readonly allocation: Allocation }
  | { readonly what: 'ended'; readonly at: number; readonly allocation: Allocation }
  | { readonly what: 'lost'; readonly at: number; readonly allocation: Allocation; readonly error: SallyportError }
  | { readonly what: 'failed'; readonly at: number; readonly error: SallyportError }

export interface SceneOptions {
  readonly lab?: LabOptions
  readonly server?: FakeServerOptions
  readonly uri?: string
  readonly client?: Partial<RelayClientOptions>
}

export class Scene {
  readonly lab: Lab
  readonly host: LabHost
  readonly server: FakeServer
  readonly peer: Talker
  /** What the client lives on. */
  readonly network: CountingNetwork
  readonly timers: Timers
  readonly client: RelayClient
  readonly told: Told[] = []
  readonly heard: { readonly text: string; readonly bytes: Uint8Array; readonly from: Address; readonly allocation: Allocation }[] = []
  readonly failures: { readonly to: Address; readonly failure: string }[] = []
  drained = 0
  credentialsAsked = 0

  private constructor(lab: Lab, server: FakeServer, peer: Talker, host: LabHost, options: SceneOptions) {
    this.lab = lab
    this.host = host
    this.server = server
    this.peer = peer
    this.network = new CountingNetwork(host)
    this.timers = new Timers(this.network.clock)
    const now = (): number => host.clock.now()
    const text = options.uri ?? `turn:${server.address.key}?transport=udp`
    this.client = new RelayClient({
      network: this.network,
      timers: this.timers,
      uri: parseServerUri(text),
      text,
      addresses: [server.address],
      families: [4],
      ...options.client,
      credentials: async () => {
        this.credentialsAsked++
        return options.client?.credentials?.() ?? { username: 'alice', password: 'wonder' }
      },
      outlet: {
        measured: ({ rtt }) => void this.told.push({ what: 'measured', at: now(), rtt }),
        allocated: (_, allocation) => void this.told.push({ what: 'allocated', at: now(), allocation }),
        lost: (_, allocation, error) => void this.told.push({ what: 'lost', at: now(), allocation, error }),
        doubted: () => undefined,
        ended: (_, allocation) => void this.told.push({ what: 'ended', at: now(), allocation }),
        failed: (_, error) => void this.told.push({ what: 'failed', at: now(), error }),
        datagram: (allocation, data, from) =>
          void this.heard.push({ text: new TextDecoder().decode(data), bytes: data.slice(), from, allocation }),
        sendFailed: (_, to, failure) => void this.failures.push({ to, failure }),
        drained: () => {
          this.drained++
        },
        ...options.client?.outlet,
      },
    })
  }

  static async open(options: SceneOptions = {}): Promise<Scene> {
    const lab = createLab({ delay: 20, ...options.lab })
    const server = await FakeServer.open(lab.host('relay'), options.server)
    const peer = await open(lab.host('peer'))
    return new Scene(lab, server, peer, lab.host('client'), options)
  }

  /** With an allocation. */
  static async allocated(options: SceneOptions = {}): Promise<Scene> {
    const scene = await Scene.open(options)
    scene.client.start()
    scene.client.allocate()
    await scene.run(1_000)
    if (scene.client.allocation === undefined) throw new Error(`no allocation: ${scene.client.failure?.message}`)
    return scene
  }

  get allocation(): Allocation {
    return this.client.allocation!
  }

  run(milliseconds: number): Promise<void> {
    return this.lab.run(milliseconds)
  }

  whats(): string[] {
    return this.told.map(({ what }) => what)
  }

  /** The last thing of a kind that was told. */
  last<W extends Told['what']>(what: W): Told & { readonly what: W } {
    const found = this.told.findLast((one) => one.what === what)
    if (found === undefined) throw new Error(`${what} was not told, but ${this.whats().join(', ')}`)
    return found as Told & { readonly what: W }
  }

  send(text: string, payload = true, to: Address = this.peer.address): boolean {
    return this.allocation.send(new TextEncoder().encode(text), to, payload)
  }

  /** From the peer to the relayed address. */
  answer(text: string): void {
    this.peer.socket.send(new TextEncoder().encode(text), this.allocation.relayed[0]!)
  }
}
