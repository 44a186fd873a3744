/** A router's port mapping service: what it remembers, what is wrong with it, and its start anew. */
import { Address } from '../../net/index.ts'
import type { LabHost } from '../host.ts'
import type { Router } from '../router.ts'
import { idle, Leases, type PortMappingInfo } from './leases.ts'
import type { PortMappingFaults, PortMappingOptions } from './options.ts'
import { PxpServer } from './pxp-server.ts'
import type { Neighbour, Setting } from './setting.ts'
import { UpnpServer } from './upnp-server.ts'

/** Seconds that a router has been up when the lab begins: that it starts again can then be told from its epoch. */
const UPTIME = 86_400

export interface RestartOptions {
  /** It forgets its mappings. Default true; otherwise it has them in a file. */
  readonly forget?: boolean
  /** It says so by multicast. Default: as `announcements` in the options. */
  readonly announce?: boolean
}

export class PortMapping {
  readonly options: PortMappingOptions
  readonly #router: Router
  readonly #leases: Leases
  readonly #setting: Setting
  readonly #pxp: PxpServer
  readonly #upnp: UpnpServer
  #faults: PortMappingFaults
  #startedAt: number
  #boots = 1
  #neighbour: Neighbour | undefined

  /** @internal use `lab.router` */
  constructor(router: Router, host: LabHost, options: PortMappingOptions, neighbour: () => LabHost) {
    this.#router = router
    this.options = options
    this.#faults = options.faults ?? {}
    const { clock, random } = host
    this.#startedAt = clock.now() - UPTIME * 1000
    const translates = router.nat !== false
    this.#leases = new Leases({ now: () => clock.now(), faults: () => this.#faults, forwarder: router, translates })
    this.#setting = {
      host,
      clock,
      random,
      options,
      faults: () => this.#faults,
      leases: this.#leases,
      neighbour: () => this.#pretender(neighbour),
      translates,
      firewalled: router.firewall !== false,
      told: () => this.#faults.externalAddress ?? router.addresses.find(({ family }) => family === 4)?.ip ?? '',
      epochSeconds: () => this.epochSeconds,
      bootId: () => this.#boots,
    }
    this.#pxp = new PxpServer(this.#setting)
    this.#upnp = new UpnpServer(this.#setting)
  }

  /** @internal */
  start(): void {
    if (this.options.natPmp !== false || this.options.pcp !== false) this.#pxp.start()
    if (this.options.upnp !== false) this.#upnp.start()
  }

  /** What it remembers now. */
  get mappings(): readonly PortMappingInfo[] {
    const outside = this.#router.addresses.find(({ family }) => family === 4) ?? Address.any(4)
    return this.#leases.all().map(({ transport, internal, externalPort, pinhole, expiresAt, request }) => {
      const external = pinhole ? internal : outside.withPort(externalPort)
      return { protocol: request.protocol, transport, external, internal, expiresAt, description: request.description ?? '' }
    })
  }

  /** What is wrong with it now. */
  get faults(): PortMappingFaults {
    return this.#faults
  }

  /** Changes what is wrong with it, what is not named stays as it is: `set({ ghost: true })`, `set({ ghost: false })`. */
  set(faults: PortMappingFaults): void {
    this.#faults = { ...this.#faults, ...faults }
    this.#leases.apply()
  }

  /** What NAT-PMP and PCP tell as their epoch (RFC 6886 3.6, RFC 6887 8.5); a day when the lab begins. Set it to have it jump. */
  get epochSeconds(): number {
    return Math.max(0, Math.floor((this.#setting.clock.now() - this.#startedAt) / 1000))
  }

  set epochSeconds(seconds: number) {
    this.#startedAt = this.#setting.clock.now() - seconds * 1000
  }

  /** The service alone starts again, the epoch at 0; what the NAT and the firewall know otherwise stays. `router.reboot()` does more. */
  restart({ forget = true, announce = this.options.announcements !== false }: RestartOptions = {}): void {
    if (announce) this.#leave()
    if (forget) this.#leases.clear()
    this.#begin(announce)
  }

  /** @internal The router has started again, and answers after so many milliseconds. */
  rebooted(downFor: number): void {
    const announce = this.options.announcements !== false
    if (announce) this.#leave()
    this.#leases.forget()
    const { host, clock } = this.#setting
    if (downFor > 0) host.suspend(downFor)
    // It wakes when its host does.
    clock.wake(clock.now(), () => this.#begin(announce))
  }

  #leave(): void {
    if (this.options.upnp !== false) this.#upnp.leave()
  }

  #begin(announce: boolean): void {
    this.#boots++
    this.epochSeconds = 0
    this.#upnp.cut()
    if (!announce) return
    this.#pxp.announce()
    if (this.options.upnp !== false) this.#upnp.announce()
  }

  /** Its device grants everything and forwards nothing. */
  #pretender(make: () => LabHost): Neighbour {
    if (this.#neighbour !== undefined) return this.#neighbour
    const host = make()
    const { clock } = host
    const faults = (): PortMappingFaults => ({})
    const leases = new Leases({ now: () => clock.now(), faults, forwarder: idle, translates: true })
    const setting = { ...this.#setting, host, clock, leases, faults, told: () => '192.0.2.66' }
    const upnp = new UpnpServer(setting)
    upnp.startControl()
    this.#neighbour = { host, url: (family) => upnp.url(family), found: (target, to) => upnp.found(target, to) }
    return this.#neighbour
  }
}
