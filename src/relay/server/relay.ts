/** A TURN server (RFC 8656): makes the parts from the options, opens the listeners, and closes all of it. */
import { SallyportError } from '../../errors.ts'
import { type Address, type DatagramSocket, type Stream, type StreamListener, Timers, type TlsIdentity } from '../../net/index.ts'
import { BindingResponder, formatServerUri, LongTermVerifier, OTHER_PORT, openGroup } from '../../stun/index.ts'
import type { RelayTransport } from '../transport.ts'
import { Allocations, messageOf } from './allocations.ts'
import { Authenticator } from './authenticator.ts'
import { Bandwidth } from './bandwidth.ts'
import type { RelayEvent } from './events.ts'
import { SendReader } from './indications.ts'
import { LocalLedger } from './ledger.ts'
import type { RelayOptions } from './options.ts'
import { PeerPolicy } from './peer-policy.ts'
import { RELAYED_BUFFER, RelayedSockets } from './relayed-sockets.ts'
import { Requests } from './requests.ts'
import { readSettings, type Settings } from './settings.ts'
import { Counters, type RelayStatus } from './status.ts'
import { Strangers } from './strangers.ts'
import { StreamClients } from './stream-listener.ts'
import { TransactionIds } from './transaction-ids.ts'
import { LISTENER_BUFFER, type UdpGroup, UdpListener } from './udp-listener.ts'

/** Ports that are tried where any will do. */
const MOST_DRAWS = 8

export interface Relay {
  /** Where it listens, ports filled in; of UDP the primary one of each family comes first in its family. */
  readonly addresses: Readonly<Record<RelayTransport, readonly Address[]>>
  /**
   * `turn:` and `turns:` URIs of the listeners, for clients; with the relay or external addresses in place of a wildcard. A name that the
   * certificate is for has to be put in by who knows it.
   */
  readonly uris: readonly string[]
  /** As of now; counters count from the beginning. */
  status(): RelayStatus
  /** Another certificate for TLS connections from now on. @throws SallyportError `ERR_BIND` when it is none: the old one stays in use */
  renew(tls: TlsIdentity): void
  /** No new allocations from now on (508, RFC 8656 7.2); what stands lives on. Resolves when the last one is gone, or at `close`. Idempotent. */
  drain(): Promise<void>
  /** Ends all allocations, connections and listeners. Idempotent. */
  close(): Promise<void>
}

/**
 * Opens the listeners and serves from then on. On the wildcard, a family that the machine does not have is left out.
 * Rejects with SallyportError `ERR_BIND` or `ERR_ADDRESS`; TypeError without a network or without a way to authenticate, RangeError for
 * values that make no sense.
 */
export async function createRelay(options: RelayOptions): Promise<Relay> {
  if (typeof options?.network?.bind !== 'function') {
    throw new TypeError('option network is missing or no Network: take nodeNetwork() of sallyport, or a host of sallyport/lab')
  }
  const settings = readSettings(options)
  for (let draws = 1; ; draws++) {
    const relay = new TurnRelay(options, settings)
    try {
      await relay.open()
      return relay
    } catch (error) {
      // The port that was free for UDP is somebody's for TCP: another one is as good.
      if (settings.port !== 0 || draws >= MOST_DRAWS || !(error instanceof SallyportError) || error.code !== 'ERR_BIND') throw error
    }
  }
}

class TurnRelay implements Relay {
  readonly #options: RelayOptions
  readonly #settings: Settings
  readonly #timers: Timers
  readonly #counters = new Counters()
  readonly #policy: PeerPolicy
  readonly #allocations: Allocations
  readonly #requests: Requests
  readonly #ids: TransactionIds
  readonly #streams: StreamClients
  readonly #groups: UdpGroup[] = []
  readonly #listening: { readonly transport: 'tcp' | 'tls'; readonly listener: StreamListener }[] = []
  readonly #warned = new Set<string>()
  #unwatch: (() => void) | undefined
  #drained: Promise<void> | undefined
  #closed = false

  constructor(options: RelayOptions, settings: Settings) {
    const { network, authenticate, algorithms, nonceLifetime } = options
    const { quotas, relayIps, ports } = settings
    const { clock, random } = network
    this.#options = options
    this.#settings = settings
    this.#timers = new Timers(clock)
    this.#ids = new TransactionIds(random)
    const timers = this.#timers
    const counters = this.#counters
    const log = (event: RelayEvent): void => this.#log(event)
    const wallTime = (): number => clock.wallTime()
    const sockets = new RelayedSockets({
      network,
      ips: relayIps,
      ports,
      refused: (error) => this.#warn('sockets', 'sockets', `no socket for a relayed address: ${messageOf(error)}`),
      opened: (socket) => this.#checkBuffer(socket, RELAYED_BUFFER, 'relayed addresses'),
    })
    this.#policy = new PeerPolicy({
      allow: settings.allow,
      deny: settings.deny,
      private: options.peers?.private === true,
      relayed: (address) => sockets.find(address)?.allocation !== undefined || options.ledger?.relayed?.(address.key) === true,
    })
    const around = {
      timers,
      policy: this.#policy,
      sockets,
      ledger: options.ledger ?? new LocalLedger(quotas.allocations, quotas.allocationsPerUser),
      counters,
      sendReader: new SendReader(),
      bandwidth: quotas.bytesPerSecond === Number.POSITIVE_INFINITY ? undefined : new Bandwidth(quotas.bytesPerSecond, timers.now()),
    }
    this.#allocations = new Allocations({
      around,
      random,
      bytesPerSecondPerUser: quotas.bytesPerSecondPerUser,
      standardLifetime: settings.standardLifetime,
      longestLifetime: settings.longestLifetime,
      log,
    })
    const verifier = new LongTermVerifier({
      realm: settings.realm,
      secret: settings.nonceSecret,
      password: (username) => settings.users.get(username),
      ...(algorithms === undefined ? {} : { algorithms }),
      ...(nonceLifetime === undefined ? {} : { nonceLifetime }),
    })
    const authenticator = new Authenticator({
      realm: settings.realm,
      verifier,
      users: settings.users,
      secrets: settings.secrets,
      timers,
      wallTime,
      failed: (error) => this.#log({ event: 'warning', subject: 'authenticate', message: `authenticate failed: ${messageOf(error)}` }),
      ...(authenticate === undefined ? {} : { authenticate }),
    })
    this.#requests = new Requests({
      around,
      allocations: this.#allocations,
      authenticator,
      verifier,
      strangers: new Strangers(settings.strangers, random),
      responder: new BindingResponder(undefined),
      permissionsPerAllocation: quotas.permissionsPerAllocation,
      wallTime,
      log,
    })
    this.#streams = new StreamClients({ requests: this.#requests, counters, timers, ids: this.#ids, limits: settings.connections })
  }

  get addresses(): Readonly<Record<RelayTransport, readonly Address[]>> {
    const of = (transport: RelayTransport): Address[] =>
      this.#listening.filter((one) => one.transport === transport).map(({ listener }) => listener.local)
    return { udp: this.#groups.flatMap(({ addresses }) => addresses), tcp: of('tcp'), tls: of('tls') }
  }

  get uris(): readonly string[] {
    const { tcp, tls } = this.addresses
    // Of a group of four, the alternate ports are for behaviour tests.
    const primary = this.#groups.flatMap(({ addresses }) => addresses.slice(0, OTHER_PORT))
    return [...this.#urisOf(primary, 'turn', 'udp'), ...this.#urisOf(tcp, 'turn', 'tcp'), ...this.#urisOf(tls, 'turns', 'tcp')]
  }

  async open(): Promise<void> {
    const { wildcard, groups } = this.#settings
    let missing: unknown
    for (const ips of groups) {
      try {
        await this.#openGroup(ips)
      } catch (error) {
        if (wildcard && isMissingFamily(error)) {
          missing = error
          continue
        }
        await this.close()
        throw error
      }
    }
    const { udp, tcp, tls } = this.addresses
    if (udp.length + tcp.length + tls.length === 0) throw missing
    this.#learnOwn()
    this.#unwatch = this.#options.network.interfaces.watch(() => this.#learnOwn())
  }

  status(): RelayStatus {
    const allocations = this.#allocations
    return {
      draining: allocations.draining,
      allocations: allocations.size,
      allocationsByTransport: allocations.byTransport,
      users: allocations.users,
      ...allocations.peers(),
      reservations: allocations.reservations,
      connections: this.#streams.size,
      counters: this.#counters.snapshot(),
    }
  }

  renew(tls: TlsIdentity): void {
    for (const { transport, listener } of this.#listening) if (transport === 'tls') listener.renew(tls)
  }

  drain(): Promise<void> {
    this.#drained ??= this.#allocations.drain()
    return this.#drained
  }

  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    this.#unwatch?.()
    for (const { listener } of this.#listening) listener.close()
    this.#allocations.close()
    this.#streams.close()
    for (const { listeners } of this.#groups) for (const listener of listeners) listener.close()
    this.#timers.clear()
  }

  /** All listeners of one family: one address, or two with which the behaviour tests of RFC 5780 are answered. */
  async #openGroup(ips: readonly Address[]): Promise<void> {
    const { udp = true, tcp = true, tls } = this.#options
    const { port, tlsPort } = this.#settings
    const [first] = ips
    if (first === undefined) return
    // Whichever is first draws the port where any is good: clients look for UDP and TCP on the same one.
    const drawn = udp ? await this.#openUdp(ips, port) : port
    for (const ip of ips) {
      if (tcp) await this.#listen(ip, drawn, 'tcp')
      if (tls !== undefined) await this.#listen(ip, tlsPort, 'tls', tls)
    }
  }

  /** @returns the primary port */
  async #openUdp(ips: readonly Address[], port: number): Promise<number> {
    const group: UdpGroup = { listeners: [], addresses: [] }
    this.#groups.push(group)
    const opened: DatagramSocket[] = []
    const bind = async (ip: Address, at: number): Promise<DatagramSocket> => {
      const socket = await this.#bind(ip, at)
      opened.push(socket)
      return socket
    }
    const sockets = await openGroup(ips, port, this.#settings.alternatePort, bind).catch((error: unknown) => {
      for (const socket of opened) socket.close()
      throw error
    })
    for (const [at, socket] of sockets.entries()) {
      const listener = new UdpListener(socket, group, at, {
        requests: this.#requests,
        counters: this.#counters,
        ids: this.#ids,
        lost: ({ key }) => this.#warn(`lost ${key}`, 'sockets', `the listener at ${key} is gone with its address; nobody is served there`),
      })
      group.listeners.push(listener)
      group.addresses.push(socket.local)
      socket.handle(listener)
    }
    return group.addresses[0]?.port ?? port
  }

  async #bind(ip: Address, port: number): Promise<DatagramSocket> {
    const { network, reusePort = false } = this.#options
    const socket = await network.bind({ family: ip.family, ip: ip.host, port, reusePort, buffer: LISTENER_BUFFER })
    this.#checkBuffer(socket, LISTENER_BUFFER, 'the listener')
    return socket
  }

  async #listen(ip: Address, port: number, transport: 'tcp' | 'tls', tls?: TlsIdentity): Promise<void> {
    const { network, reusePort = false } = this.#options
    const where = { family: ip.family, ip: ip.host, port, reusePort }
    const accept = (stream: Stream): void => this.#streams.accept(stream, transport)
    const listener = await network.listen(tls === undefined ? where : { ...where, tls }, accept)
    this.#listening.push({ transport, listener })
  }

  #urisOf(addresses: readonly Address[], scheme: 'turn' | 'turns', transport: 'udp' | 'tcp'): string[] {
    const hosts = addresses.flatMap((address) =>
      address.scope !== 'unspecified'
        ? [address]
        : this.#settings.relayIps.filter(({ told }) => told.family === address.family).map(({ told }) => told.withPort(address.port)),
    )
    return hosts.map(({ ip, port }) => formatServerUri({ scheme, host: ip, port, transport }))
  }

  /** This machine's addresses, and what is listened on. */
  #learnOwn(): void {
    const { udp, tcp, tls } = this.addresses
    const listening = [...udp, ...tcp, ...tls]
    const relaying = this.#settings.relayIps.flatMap(({ bound, told }) => [bound, told])
    const own = this.#options.network.interfaces.list().map(({ address }) => address)
    this.#policy.setOwn(
      [...own, ...relaying, ...listening],
      listening.map(({ port }) => port),
    )
  }

  #checkBuffer({ buffer }: DatagramSocket, wanted: number, what: string): void {
    if (buffer === undefined || buffer >= wanted) return
    const message =
      `the system gives the sockets of ${what} buffers of ${buffer} bytes where ${wanted} are asked for, and bursts will be lost; ` +
      `on Linux: sysctl -w net.core.rmem_max=${LISTENER_BUFFER} net.core.wmem_max=${LISTENER_BUFFER}`
    this.#warn('buffers', 'buffers', message)
  }

  /** Once for each `about`. */
  #warn(about: string, subject: 'buffers' | 'sockets', message: string): void {
    if (this.#warned.has(about)) return
    this.#warned.add(about)
    this.#log({ event: 'warning', subject, message })
  }

  #log(event: RelayEvent): void {
    try {
      this.#options.log?.(event)
    } catch {
      // Whoever writes logs must not stop what they are about.
    }
  }
}

/** The machine has no addresses of that family, or does not know it. */
function isMissingFamily(error: unknown): boolean {
  const { cause } = error as { readonly cause?: { readonly code?: unknown } }
  return cause?.code === 'EAFNOSUPPORT' || cause?.code === 'EADDRNOTAVAIL'
}
