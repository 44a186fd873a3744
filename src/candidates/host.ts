/**
 * Which of the machine's addresses to offer as host candidates (RFC 8445 5.1.1.1), in which order (RFC 8421), and why not the
 * others. Pure: lists in, lists out. Candidates and their priorities are made in `candidate.ts` and `priority.ts`.
 */
import { Address, type DefaultRoute, type Family, type InterfaceAddress, Prefix } from '../net/index.ts'

/** The caller's wishes. `exclude` beats `include`, and `include` beats every rule of our own but `families` and `limit`. */
export interface HostPolicy {
  /**
   * False tells peers none of these addresses, only what STUN servers see of them, without the address behind it; and sends no check to
   * where an address would show itself: the networks that this machine is on, and private ranges. So peers on one of those networks meet
   * only if its NAT does hairpinning. Needs `servers`. An IPv6 address that no NAT changes is what a server sees. True by default.
   */
  readonly offer?: boolean
  /** Offer loopback addresses, for peers on this machine. False by default. */
  readonly loopback?: boolean
  /** True offers link-local addresses, false never does. By default IPv4's (169.254/16) go out when the host has nothing else. */
  readonly linkLocal?: boolean
  /** Interfaces (`wg0`, `docker*`) or ranges (`100.64.0.0/10`) to offer although a rule of ours would leave them out. */
  readonly include?: readonly string[]
  /** Interfaces or ranges never to offer. A tunnel whose own packets travel through this library belongs here. */
  readonly exclude?: readonly string[]
  /** The last word on each address that all else lets through. What it throws goes to the caller. */
  readonly accept?: (address: InterfaceAddress) => boolean
  /** Both by default. */
  readonly families?: readonly Family[]
  /** Addresses per family, 5 by default: each costs a socket, a query per server and a pair per remote candidate. */
  readonly limit?: number
}

export interface HostChoice {
  readonly address: InterfaceAddress
  /** For the local preference: 0 is the best, no two are alike. */
  readonly rank: number
}

export interface HostRejection {
  readonly address: InterfaceAddress
  readonly reason: HostRejectionReason
}

/** Stable: goes into reports. */
export type HostRejectionReason =
  | 'family-not-wanted'
  | 'unusable'
  | 'site-local'
  | 'duplicate'
  | 'excluded'
  | 'loopback'
  | 'container-interface'
  | 'virtual-machine-interface'
  | 'overlay-network'
  | 'link-local'
  | 'not-accepted'
  | 'deprecated'
  | 'temporary-preferred'
  | 'over-limit'

const DEFAULT_LIMIT = 5

/**
 * Interfaces that lead to guests of this machine or into an overlay, by the names their makers give. No peer is reached through the first two
 * that is not reached otherwise; an overlay would have us tunnel through somebody else's traversal. A plain tunnel
 * (`tun0`, `wg0`, `utun3`, `ppp0`) is none of them: it may be the only way out.
 */
const KNOWN_INTERFACES: readonly (readonly [HostRejectionReason, RegExp])[] = [
  ['container-interface', /^(docker|veth|cni|cbr\d|flannel|cali|cilium|lxc|lxdbr|incusbr|podman|nerdctl|weave|antrea|kube-|nodelocaldns)/],
  ['container-interface', /^br-[0-9a-f]{12}$/], // Docker's user-defined networks; `br-lan` is a router's own
  ['container-interface', /^vEthernet \((WSL|DockerNAT|nat|HNS)/i],
  ['virtual-machine-interface', /^(virbr|vmnet|vboxnet|mpqemubr|bridge1\d\d$)/], // bridge100 and on: guests and Internet Sharing on macOS
  ['virtual-machine-interface', /^(vEthernet \(Default Switch|VirtualBox Host-Only|VMware Network Adapter)/i],
  ['overlay-network', /^(tailscale|zt[0-9a-z]{6,}|feth\d|wt\d+$|nebula|ham\d|hamachi|ZeroTier)/i],
]

/** Ranges that overlays number their nodes from, and the interfaces on which that is what they mean. */
const OVERLAY_RANGES: readonly (readonly [Prefix, RegExp])[] = [
  // RFC 6598 addresses are also what a carrier's NAT gives to its customers, on any interface but these.
  [Prefix.parse('100.64.0.0/10'), /^utun\d/],
  [Prefix.parse('fd7a:115c:a1e0::/48'), /^/], // Tailscale
  [Prefix.parse('200::/7'), /^/], // Yggdrasil, on addresses that RFC 4048 gave back
]

/** RFC 3879: deprecated, and RFC 8445 5.1.1.1 leaves them out. IPv4-compatible addresses (RFC 4291 2.5.5.1) likewise. */
const SITE_LOCAL = Prefix.parse('fec0::/10')
const IPV4_COMPATIBLE = Prefix.parse('::/96')

/** Point-to-point by name. Behind the others unless the default route says otherwise. */
const TUNNEL = /^(tun|tap|utun|wg|ppp|ipsec|nordlynx|proton)/

/** Splits the machine's addresses into those to offer, best first, and the rest. `routes`: the default routes, best first. */
export function chooseHostAddresses(
  list: readonly InterfaceAddress[],
  policy: HostPolicy = {},
  routes: readonly DefaultRoute[] = [],
): { readonly chosen: readonly HostChoice[]; readonly rejected: readonly HostRejection[] } {
  const rejected: HostRejection[] = []
  const keep = (addresses: readonly InterfaceAddress[], rule: (address: InterfaceAddress) => HostRejectionReason | undefined) =>
    addresses.filter((address) => {
      const reason = rule(address)
      if (reason !== undefined) rejected.push({ address, reason })
      return reason === undefined
    })

  const included = matcher(policy.include)
  const excluded = matcher(policy.exclude)
  const single = keep(list, onlyOnce())
  let left = keep(single, (address) => ownFault(address, policy, included, excluded))
  const others = left.some((address) => !isLinkLocal(address))
  left = keep(left, (address) => linkLocalRule(address, policy, included, others))
  left = keep(left, (address) => (policy.accept === undefined || policy.accept(address) ? undefined : 'not-accepted'))
  left = keep(left, (address) => (replaced(address, left) ? 'deprecated' : undefined))
  left = keep(left, (address) => (hasTemporary(address, left) ? 'temporary-preferred' : undefined))

  const order = preference(routes)
  const limit = policy.limit ?? DEFAULT_LIMIT
  const best = ([6, 4] as const).map((family) => {
    const sorted = left.filter(({ address }) => address.family === family).sort(order)
    for (const address of sorted.slice(limit)) rejected.push({ address, reason: 'over-limit' })
    return sorted.slice(0, limit)
  })
  const ranked = [...interleave(best, (address) => !isLastResort(address)), ...interleave(best, isLastResort)]
  return { chosen: ranked.map((address, rank) => ({ address, rank })), rejected }
}

function onlyOnce(): (address: InterfaceAddress) => HostRejectionReason | undefined {
  const seen = new Set<string>()
  return ({ address }) => {
    if (seen.has(address.key)) return 'duplicate'
    seen.add(address.key)
    return undefined
  }
}

/** What speaks against an address whatever else the host has. */
function ownFault(entry: InterfaceAddress, policy: HostPolicy, included: Match, excluded: Match): HostRejectionReason | undefined {
  const { address, name, internal } = entry
  if (policy.families !== undefined && !policy.families.includes(address.family)) return 'family-not-wanted'
  if (address.scope === 'unspecified' || address.scope === 'multicast') return 'unusable'
  const loopback = internal || address.scope === 'loopback'
  if (!loopback && IPV4_COMPATIBLE.contains(address)) return 'unusable'
  if (SITE_LOCAL.contains(address)) return 'site-local'
  if (excluded(entry)) return 'excluded'
  if (included(entry)) return undefined
  if (loopback) return policy.loopback === true ? undefined : 'loopback'
  for (const [reason, names] of KNOWN_INTERFACES) if (names.test(name)) return reason
  for (const [range, names] of OVERLAY_RANGES) if (range.contains(address) && names.test(name)) return 'overlay-network'
  return undefined
}

function linkLocalRule(entry: InterfaceAddress, policy: HostPolicy, included: Match, others: boolean): HostRejectionReason | undefined {
  if (!isLinkLocal(entry) || included(entry)) return undefined
  const offered = policy.linkLocal ?? (entry.address.family === 4 && !others)
  return offered ? undefined : 'link-local'
}

/** RFC 6724 5, rule 3: a deprecated address gives way to another of its kind on the same interface. */
function replaced(entry: InterfaceAddress, all: readonly InterfaceAddress[]): boolean {
  const { name, address, deprecated } = entry
  if (!deprecated) return false
  return all.some((o) => !o.deprecated && o.name === name && o.address.family === address.family && o.address.scope === address.scope)
}

/** RFC 8445 5.1.1.1, RFC 8981: a stable address tells who we are, and reaches nothing that the temporary one of its prefix does not. */
function hasTemporary(entry: InterfaceAddress, all: readonly InterfaceAddress[]): boolean {
  if (entry.address.family === 4 || entry.temporary) return false
  return all.some((o) => o.temporary && o.name === entry.name && Prefix.around(o.address, o.prefixLength).contains(entry.address))
}

function isLinkLocal({ address }: InterfaceAddress): boolean {
  return address.scope === 'link-local'
}

/** Works for few peers or not for long: behind everything else, of either family. */
function isLastResort(entry: InterfaceAddress): boolean {
  return entry.internal || entry.deprecated || entry.address.scope === 'loopback' || entry.address.scope === 'link-local'
}

/** Within a family: the interfaces of the default routes in their order, then the others; then the wider reach; then as the system lists them. */
function preference(routes: readonly DefaultRoute[]): (a: InterfaceAddress, b: InterfaceAddress) => number {
  const routeOf = ({ name, address }: InterfaceAddress): number => {
    const index = routes.findIndex((route) => route.family === address.family && route.name === name)
    if (index >= 0) return index
    return routes.length + (TUNNEL.test(name) ? 1 : 0)
  }
  const reach = ({ address }: InterfaceAddress): number => (address.scope === 'global' ? 0 : 1)
  const last = (entry: InterfaceAddress): number => (isLastResort(entry) ? 1 : 0)
  return (a, b) => last(a) - last(b) || routeOf(a) - routeOf(b) || reach(a) - reach(b)
}

/** RFC 8421 4: the families take turns, IPv6 first, so that a broken one costs the other no time. */
function interleave(families: readonly (readonly InterfaceAddress[])[], wanted: (entry: InterfaceAddress) => boolean): InterfaceAddress[] {
  const queues = families.map((family) => family.filter(wanted))
  const longest = Math.max(...queues.map((queue) => queue.length))
  return Array.from({ length: longest }, (_, i) => queues.flatMap((queue) => queue.slice(i, i + 1))).flat()
}

type Match = (entry: InterfaceAddress) => boolean

/** Patterns are names, names with a trailing `*`, addresses or ranges. */
function matcher(patterns: readonly string[] = []): Match {
  const matches = patterns.map((pattern): Match => {
    const range = rangeOf(pattern)
    if (range !== undefined) return ({ address }) => range.contains(address)
    if (pattern.endsWith('*')) return ({ name }) => name.startsWith(pattern.slice(0, -1))
    return ({ name }) => name === pattern
  })
  return (entry) => matches.some((match) => match(entry))
}

/** @throws SallyportError `ERR_ADDRESS` for a range that is none */
function rangeOf(pattern: string): Prefix | undefined {
  return pattern.includes('/') || Address.tryOf(pattern, 0) !== undefined ? Prefix.parse(pattern) : undefined
}

/** For the option `hosts` of a traversal. @throws TypeError naming what is wrong, e.g. `hosts.include` */
export function assertHostPolicy(policy: unknown): asserts policy is HostPolicy {
  if (typeof policy !== 'object' || policy === null || Array.isArray(policy)) throw new TypeError('hosts: must be an object')
  for (const [name, value] of Object.entries(policy)) {
    const check = POLICY_CHECKS.get(name)
    if (check === undefined) throw new TypeError(`hosts.${name}: no such option; there are ${[...POLICY_CHECKS.keys()].join(', ')}`)
    const complaint = value === undefined ? undefined : check(value)
    if (complaint !== undefined) throw new TypeError(`hosts.${name}: ${complaint}`)
  }
}

type Check = (value: unknown) => string | undefined

const POLICY_CHECKS: ReadonlyMap<string, Check> = new Map<keyof HostPolicy, Check>([
  ['offer', booleanComplaint],
  ['loopback', booleanComplaint],
  ['linkLocal', booleanComplaint],
  ['include', patternsComplaint],
  ['exclude', patternsComplaint],
  ['accept', (value) => (typeof value === 'function' ? undefined : 'must be a function')],
  ['families', familiesComplaint],
  ['limit', (value) => (Number.isInteger(value) && (value as number) >= 1 ? undefined : 'must be an integer of at least 1')],
])

function booleanComplaint(value: unknown): string | undefined {
  return typeof value === 'boolean' ? undefined : 'must be true or false'
}

function familiesComplaint(value: unknown): string | undefined {
  const good = Array.isArray(value) && value.length > 0 && value.every((family) => family === 4 || family === 6)
  return good ? undefined : 'must list 4, 6 or both'
}

function patternsComplaint(value: unknown): string | undefined {
  if (!Array.isArray(value)) return 'must be a list of interface names and address ranges'
  for (const pattern of value) {
    if (typeof pattern !== 'string' || pattern === '') return 'must be a list of interface names and address ranges'
    if (pattern.slice(0, -1).includes('*')) return `a * stands only at the end of a name: ${pattern}`
    try {
      rangeOf(pattern)
    } catch {
      return `not an interface name or an address range: ${pattern}`
    }
  }
  return undefined
}
