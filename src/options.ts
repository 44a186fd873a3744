/** What `createTraversal` takes, checked at the call: a mistake is a `TypeError` that names the option. */
import type { Socket } from 'node:dgram'
import { assertHostPolicy, type HostPolicy } from './candidates/index.ts'
import type { DatagramSocket, Network } from './net/index.ts'
import { parseServerUri, type ServerUri } from './stun/index.ts'

export interface TraversalOptions {
  /**
   * `stun:host:port` URIs (RFC 7064). None by default, and nobody is contacted that is not listed: then peers on the same network, or on
   * public addresses, find each other, and no others.
   */
  readonly servers?: readonly string[]
  /** Which addresses of this machine are offered. */
  readonly hosts?: HostPolicy
  /** The UDP port to use; any free one by default. */
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

const NAMES: ReadonlySet<string> = new Set<keyof TraversalOptions>(['servers', 'hosts', 'port', 'socket', 'lite', 'network'])

export interface CheckedOptions {
  readonly servers: readonly { readonly text: string; readonly uri: ServerUri }[]
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
  const { servers = [], hosts, port = 0, socket, lite = false, network } = options
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
  return { servers: servers.map(checkServer), hosts, port, socket, lite, network }
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

function checkServer(text: unknown, index: number): { readonly text: string; readonly uri: ServerUri } {
  const name = `option servers[${index}]`
  if (typeof text !== 'string') throw new TypeError(`${name} is not a URI`)
  let uri: ServerUri
  try {
    uri = parseServerUri(text)
  } catch (cause) {
    throw new TypeError(`${name}: ${(cause as Error).message}`, { cause })
  }
  if (uri.scheme !== 'stun') throw new TypeError(`${name}: ${uri.scheme}: servers cannot be used yet, only stun: (${text})`)
  return { text, uri }
}
