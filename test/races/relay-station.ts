/** A relay of a schedule: what is done to it, whether it can be counted on, and what must not be left at it. */
import type { RelayCredentials } from '../../src/candidates/index.ts'
import type { Lab, LabHost, PacketView } from '../../src/lab/index.ts'
import { createRelay, type Relay, type RelayEvent } from '../../src/relay/index.ts'
import type { RelayAction, Relays } from './schedule.ts'
import type { WatchedNetwork } from './watched-network.ts'

const PASSWORD = 'secret'
/** Milliseconds that credentials are good for after the storm: they are replaced in the middle of that time. */
const CALM_CREDENTIALS = 120_000
const STUN_PORT = 3478
const METHOD_BINDING = 1

export interface RelayStationOptions {
  readonly lab: Lab
  readonly host: LabHost
  readonly relays: Relays
  readonly network: WatchedNetwork
  readonly broken: (what: string) => void
}

export class RelayStation {
  readonly name: string
  readonly ip: string
  readonly network: WatchedNetwork
  readonly #options: RelayStationOptions
  #relay: Relay | undefined
  /** Allocations by their number: when they were made, by which relay of those that followed each other. */
  readonly #allocations = new Map<string, number>()
  /** When each was made, ever. */
  readonly #made: number[] = []
  #lives = 0
  #silentUntil = 0
  #draining = false
  #renewing = false

  constructor(options: RelayStationOptions) {
    const { host, network } = options
    this.#options = options
    this.name = host.name
    this.ip = host.addresses[0]?.ip ?? ''
    this.network = network
  }

  /** What clients are told. */
  get uri(): string {
    return `turn:${this.ip}${this.#options.relays.stream ? '' : '?transport=udp'}`
  }

  /** New allocations are given, now and from now on. */
  get reliable(): boolean {
    return this.#relay !== undefined && !this.#draining && this.#silentUntil <= this.#options.lab.clock.now()
  }

  async open(): Promise<void> {
    const { lab, relays } = this.#options
    const life = ++this.#lives
    this.#relay = await createRelay({
      network: this.network,
      peers: { private: true },
      authenticate: (username) => {
        const password = Number(username.split(' ')[1]) > lab.clock.wallTime() ? PASSWORD : undefined
        if (relays.slow === 0) return password
        return new Promise((resolve) => void lab.after(relays.slow, () => resolve(password)))
      },
      log: (event) => this.#log(life, event),
    })
    this.#draining = false
  }

  /** @returns milliseconds until all is over that it begins */
  act({ do: what, for: duration }: RelayAction): number {
    const { lab } = this.#options
    const now = lab.clock.now()
    switch (what) {
      case 'silence':
        this.#silentUntil = Math.max(this.#silentUntil, now + duration)
        return duration
      case 'die':
        this.#silentUntil = Number.POSITIVE_INFINITY
        return 0
      case 'drain':
        void this.#relay?.drain()
        this.#draining = true
        return 0
      case 'renew':
        // The machine comes back, too.
        if (this.#silentUntil === Number.POSITIVE_INFINITY) this.#silentUntil = now
        void this.#renew(duration)
        return duration
    }
  }

  /** A datagram that goes to it or comes from it is lost. What serves STUN beside it goes on. */
  swallows({ host, to, protocol }: PacketView, binding: boolean): boolean {
    if (this.#silentUntil <= this.#options.lab.clock.now()) return false
    return (host === this.name || to.ip === this.ip) && !(binding && protocol === 'udp')
  }

  /** What must be gone a little after all clients have closed: what was allocated since then. */
  since(time: number): string | undefined {
    if (!this.reliable) return undefined
    const left = [...this.#allocations].filter(([, at]) => at >= time)
    return left.length === 0 ? undefined : `${left.length} allocations are left at ${this.name}: ${left.map(([what]) => what).join(', ')}`
  }

  madeSince(time: number): number {
    return this.#made.filter((at) => at >= time).length
  }

  get allocations(): number {
    return this.#relay?.status().allocations ?? 0
  }

  get connections(): number {
    return this.#relay?.status().connections ?? 0
  }

  async close(): Promise<void> {
    await this.#relay?.close()
    this.#relay = undefined
  }

  async #renew(duration: number): Promise<void> {
    if (this.#renewing) return
    this.#renewing = true
    const { lab, broken } = this.#options
    try {
      await this.close()
      if (duration > 0) await new Promise<void>((resolve) => void lab.after(duration, resolve))
      await this.open()
    } catch (error) {
      broken(`${this.name} did not start again: ${(error as Error).stack}`)
    }
    this.#renewing = false
  }

  #log(life: number, event: RelayEvent): void {
    if (event.event === 'warning' && event.subject === 'fault') this.#options.broken(`${this.name}: ${event.message}`)
    if (event.event !== 'allocation-created' && event.event !== 'allocation-deleted') return
    const key = `${life}/${event.id} of ${event.user} at ${event.client} (${event.transport})`
    if (event.event === 'allocation-created') {
      const now = this.#options.lab.clock.now()
      this.#allocations.set(key, now)
      this.#made.push(now)
    }
    if (event.event === 'allocation-deleted' && !this.#allocations.delete(key)) {
      this.#options.broken(`${this.name}: an allocation that was never made is gone: ${key}`)
    }
  }
}

/**
 * What a host gives who asks for its credentials. A new allocation for each means other pairs at both ends, so that nothing settles while that
 * happens every few seconds: once `calm`, they are good for longer.
 */
export function credentialsOf(name: string, { credentials }: Relays, lab: Lab, calm: () => boolean): () => RelayCredentials {
  let asked = 0
  return () => {
    if (credentials === 0) return { username: `${name} ${Number.MAX_SAFE_INTEGER}`, password: PASSWORD }
    const expiresAt = lab.clock.wallTime() + (calm() ? CALM_CREDENTIALS : credentials)
    return { username: `${name}-${++asked} ${expiresAt}`, password: PASSWORD, expiresAt }
  }
}

/** A question to the STUN server, or its answer. */
export function isBinding({ host, from, to, data, protocol }: PacketView, stun: { readonly name: string; readonly ip: string }): boolean {
  if (protocol !== 'udp' || !((host === stun.name && from.port === STUN_PORT) || (to.ip === stun.ip && to.port === STUN_PORT))) return false
  return ((data[0] as number) & 0xfe) === 0 && data[1] === METHOD_BINDING
}
