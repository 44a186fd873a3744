/** What `createTraversal` takes, checked at the call: a mistake is a `TypeError` that names the option. */
import type { Socket } from 'node:dgram'
import { assertHostPolicy, type HostPolicy, type RelayCredentials } from './candidates/index.ts'
import type { DatagramSocket, Network } from './net/index.ts'
import { checkMappingTerms, MAPPING_DEFAULTS, type MappingProtocol } from './pmp/index.ts'
import { parseServerUri, type ServerUri } from './stun/index.ts'

export interface TraversalOptions {
  /**
   * STUN servers (`stun:host:port`, RFC 7064) and relays (`turn:host:port`, `turns:host:port`, `?transport=udp` or `tcp`, RFC 7065), in any
   * number. A `turn:` server without a transport is tried over UDP and TCP at once. None by default, and nobody is contacted that is not
   * listed: then peers on the same network, or on public addresses, find each other, and no others.
   */
  readonly servers?: readonly (string | IceServer)[]
  /**
   * For all relays that have none of their own in `servers`: fixed ones, or a function that is asked for each server, and again before
   * what it gave expires or when a server refuses it.
   */
  readonly credentials?: RelayCredentials | ((server: string) => RelayCredentials | Promise<RelayCredentials>)
  readonly relay?: RelayPolicy
  /**
   * Has routers open the sockets' ports by PCP, NAT-PMP or UPnP, and uses what is proven to let packets in. True for all three; false by
   * default: it changes something on a router, if only until `close`.
   */
  readonly portMapping?: boolean | PortMappingPolicy
  /** Which addresses of this machine are offered. */
  readonly hosts?: HostPolicy
  /** The UDP port to use; any free one by default. What a router maps behind a hard NAT has another socket, on any free port. */
  readonly port?: number
  /**
   * A bound socket to use instead of our own. A node:dgram socket stays the caller's: datagrams that are neither ours nor a session's go to
   * its listeners as before, and `close` leaves it open; its TTL is changed for single packets and set back to 64. Anything else with the `DatagramSocket` shape is handed over, and closed by `close`.
   */
  readonly socket?: Socket | DatagramSocket
  /**
   * For a program on a public address that anybody can reach: its agents are lite (RFC 8445 2.5), which answer checks and send none.
   * The peer has to be a full agent. Goes without `servers`. False by default.
   */
  readonly lite?: boolean
  /** Where all this happens: the operating system, by default, or a host of `sallyport/lab`. */
  readonly network?: Network
}

/** One entry of WebRTC's `iceServers`, as it is. */
export interface IceServer {
  readonly urls: string | readonly string[]
  readonly username?: string
  readonly credential?: string
}

/** How relays are used. */
export interface RelayPolicy {
  /**
   * Allocations at once, each at another server, the nearest first: 1 to 8, 2 by default. With 1 there is no warm second one, and the next
   * server is asked when the one in use dies.
   */
  readonly keep?: number
  /** Peers learn of relayed addresses and nothing else, and all data goes over relays: for who must not tell where they are. False by default. */
  readonly only?: boolean
  /** Certificates in PEM that `turns:` servers' are checked against, in place of the system's. */
  readonly ca?: string
}

/** How routers are asked. */
export interface PortMappingPolicy {
  /** All by default; the order is ours. */
  readonly protocols?: readonly MappingProtocol[]
  /** Milliseconds to ask for, renewed at half of what is granted: 120,000 to 86,400,000, two hours by default. */
  readonly lifetime?: number
  /** What routers list a UPnP mapping under: up to 60 ASCII letters, digits, spaces and `.` `_` `-`, `sallyport` by default. */
  readonly description?: string
  /** Deletes what was mapped on SIGINT and SIGTERM, too, before the process ends. False by default: then it ends with its lifetime. */
  readonly releaseOnExit?: boolean
}

const NAMES: ReadonlySet<string> = new Set<keyof TraversalOptions>([
  'servers',
  'credentials',
  'relay',
  'portMapping',
  'hosts',
  'port',
  'socket',
  'lite',
  'network',
])
const RELAY_NAMES: ReadonlySet<string> = new Set<keyof RelayPolicy>(['keep', 'only', 'ca'])
const MOST_ALLOCATIONS = 8

export interface CheckedServer {
  readonly text: string
  readonly uri: ServerUri
  /** For relays. */
  readonly credentials: (() => Promise<RelayCredentials>) | undefined
}

export interface CheckedOptions {
  readonly servers: readonly CheckedServer[]
  readonly relay: { readonly keep: number; readonly only: boolean; readonly ca: string | undefined }
  readonly portMapping: Required<PortMappingPolicy> | undefined
  readonly hosts: HostPolicy | undefined
  readonly port: number
  readonly socket: Socket | DatagramSocket | undefined
  readonly lite: boolean
  readonly network: Network | undefined
}

/** @throws TypeError naming the option */
export function checkOptions(options: TraversalOptions): CheckedOptions {
  if (typeof options !== 'object' || options === null) throw new TypeError('createTraversal takes an object of options')
  for (const name of Object.keys(options)) {
    if (!NAMES.has(name)) throw new TypeError(`option ${name} is not known; there are ${[...NAMES].join(', ')}`)
  }
  const { servers = [], credentials, relay = {}, portMapping = false, hosts, port = 0, socket, lite = false, network } = options
  if (!Array.isArray(servers)) throw new TypeError('option servers is not a list of URIs')
  if (hosts !== undefined) assertHostPolicy(hosts)
  if (hosts?.offer === false && servers.length === 0) throw new TypeError('hosts.offer: false leaves nothing to offer without servers')
  if (!Number.isInteger(port) || port < 0 || port > 0xffff) throw new TypeError(`option port is not within 0 to 65535: ${String(port)}`)
  if (socket !== undefined && !isDgram(socket) && !isDatagramSocket(socket))
    throw new TypeError('option socket is neither a node:dgram socket nor a DatagramSocket')
  if (socket !== undefined && port !== 0) throw new TypeError('option port makes no sense with option socket, which has one already')
  if (typeof lite !== 'boolean') throw new TypeError('option lite is not true or false')
  if (lite && servers.length > 0) throw new TypeError('option lite makes no sense with servers: a lite agent offers its own addresses only')
  if (network !== undefined && !isNetwork(network)) throw new TypeError('option network is not a Network')
  if (relay?.only === true && (socket !== undefined || port !== 0))
    throw new TypeError('option relay.only makes no sense with socket or port: relays are asked from sockets of their own')
  const checked = servers.flatMap((server, index) => checkServer(server, index, credentials))
  const mapping = checkPortMapping(portMapping)
  if (mapping !== undefined && lite) throw new TypeError('option portMapping makes no sense with lite, which is for public addresses')
  if (mapping !== undefined && relay.only === true)
    throw new TypeError('option portMapping makes no sense with relay.only: nothing but relayed addresses is offered')
  return { servers: checked, relay: checkRelay(relay, checked), portMapping: mapping, hosts, port, socket, lite, network }
}

function checkPortMapping(given: unknown): CheckedOptions['portMapping'] {
  if (given === false) return undefined
  const policy = given === true ? {} : given
  if (typeof policy !== 'object' || policy === null) throw new TypeError('option portMapping is neither true, false nor an object')
  for (const name of Object.keys(policy)) {
    if (name !== 'releaseOnExit' && !(name in MAPPING_DEFAULTS))
      throw new TypeError(`option portMapping.${name} is not known; there are ${Object.keys(MAPPING_DEFAULTS).join(', ')}, releaseOnExit`)
  }
  const { releaseOnExit = false, ...rest } = policy as PortMappingPolicy
  if (typeof releaseOnExit !== 'boolean') throw new TypeError('option portMapping.releaseOnExit is not true or false')
  return { ...checkMappingTerms(rest, 'option portMapping.'), releaseOnExit }
}

function checkRelay(relay: unknown, servers: readonly CheckedServer[]): CheckedOptions['relay'] {
  if (typeof relay !== 'object' || relay === null) throw new TypeError('option relay is not an object')
  for (const name of Object.keys(relay)) {
    if (!RELAY_NAMES.has(name)) throw new TypeError(`option relay.${name} is not known; there are ${[...RELAY_NAMES].join(', ')}`)
  }
  const { keep = 2, only = false, ca } = relay as RelayPolicy
  if (!Number.isInteger(keep) || keep < 1 || keep > MOST_ALLOCATIONS)
    throw new TypeError(`option relay.keep is not within 1 to ${MOST_ALLOCATIONS}: ${String(keep)}`)
  if (typeof only !== 'boolean') throw new TypeError('option relay.only is not true or false')
  if (ca !== undefined && typeof ca !== 'string') throw new TypeError('option relay.ca is not text in PEM')
  if (only && !servers.some(({ uri }) => isRelay(uri)))
    throw new TypeError('option relay.only leaves nothing to offer without a turn: server')
  return { keep, only, ca }
}

export function isRelay({ scheme }: ServerUri): boolean {
  return scheme === 'turn' || scheme === 'turns'
}

export function isDgram(socket: Socket | DatagramSocket): socket is Socket {
  return typeof socket === 'object' && socket !== null && 'bind' in socket && 'address' in socket && 'emit' in socket
}

function isDatagramSocket(socket: unknown): boolean {
  const shape = socket as Partial<DatagramSocket> | null
  return (
    typeof shape === 'object' &&
    shape !== null &&
    typeof shape.send === 'function' &&
    typeof shape.handle === 'function' &&
    shape.local !== undefined
  )
}

function isNetwork(network: unknown): boolean {
  const parts: readonly (keyof Network)[] = ['clock', 'random', 'interfaces', 'gateway', 'dns', 'streams', 'bind', 'listen']
  return typeof network === 'object' && network !== null && parts.every((part) => (network as Partial<Network>)[part] !== undefined)
}

function checkServer(server: unknown, index: number, common: unknown): readonly CheckedServer[] {
  const name = `option servers[${index}]`
  if (typeof server === 'string') return [checkUri(name, server, common)]
  if (typeof server !== 'object' || server === null) throw new TypeError(`${name} is neither a URI nor { urls, username, credential }`)
  const { urls, username, credential } = server as Partial<Record<keyof IceServer, unknown>>
  const all: unknown = typeof urls === 'string' ? [urls] : urls
  if (!Array.isArray(all) || all.length === 0) throw new TypeError(`${name}.urls is neither a URI nor a list of them`)
  const own = username === undefined && credential === undefined ? common : { username, password: credential }
  return all.map((url) => checkUri(`${name}.urls`, url, own))
}

function checkUri(name: string, text: unknown, credentials: unknown): CheckedServer {
  if (typeof text !== 'string') throw new TypeError(`${name} is not a URI`)
  let uri: ServerUri
  try {
    uri = parseServerUri(text)
  } catch (cause) {
    throw new TypeError(`${name}: ${(cause as Error).message}`, { cause })
  }
  if (uri.scheme === 'stuns') throw new TypeError(`${name}: stuns: servers cannot be used, since they do not see the UDP socket (${text})`)
  if (uri.scheme === 'turns' && uri.transport === 'udp')
    throw new TypeError(`${name}: there is no DTLS here; write turns: without a transport (${text})`)
  return { text, uri, credentials: isRelay(uri) ? checkCredentials(name, text, credentials) : undefined }
}

/** What a function gives is looked at when it has given it. */
function checkCredentials(name: string, text: string, credentials: unknown): () => Promise<RelayCredentials> {
  if (credentials === undefined)
    throw new TypeError(`${name}: ${text} needs a user name and a password: option credentials, or in its own entry`)
  if (typeof credentials === 'function') return async () => readCredentials(text, await credentials(text))
  const fixed = readCredentials(name, credentials)
  return async () => fixed
}

/** @throws TypeError */
function readCredentials(whose: string, given: unknown): RelayCredentials {
  const { username, password, expiresAt } = (given ?? {}) as Partial<Record<keyof RelayCredentials, unknown>>
  if (typeof username !== 'string' || typeof password !== 'string')
    throw new TypeError(`${whose}: credentials are not { username, password }`)
  if (expiresAt !== undefined && typeof expiresAt !== 'number')
    throw new TypeError(`${whose}: credentials.expiresAt is no time in milliseconds`)
  return { username, password, ...(expiresAt === undefined ? {} : { expiresAt }) }
}
