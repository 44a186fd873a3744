/**
 * Small internets out of Linux network namespaces: real hosts, routers and NATs (iproute2, nftables), torn down whatever happens.
 * Root only: `describe('…', requires(KERNEL), …)`. The virtual internet of src/lab is the faster and deterministic one; this one is true.
 *
 * Every network hangs on one core router, `5.0.N.0/24` and `2a00:5:N::/64`; behind routers it is `192.168.N.0/24` (a carrier's
 * `100.64.N.0/24`, without NAT `5.1.N.0/24`) and `2a00:5:1NN::/64`. The `.1` is always the router.
 */
import { type ChildProcess, execFile, type SpawnOptions, spawn, spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import type { Family } from '../../src/net/index.ts'
import type { Requirements } from '../requirements.ts'

export const KERNEL: Requirements = { root: true, commands: { ip: 'iproute2', nft: 'nftables' } }

/**
 * How a router gives out ports.
 * - `masquerade`: keeps the host's port while it is free, endpoint-independent as long as it is.
 * - `random`: a fresh port for every flow (`fully-random`): a symmetric NAT.
 * - `block`: ports of one range only; with `random` a fresh one for every flow.
 * - `none`: routes, and its network has addresses of the core.
 */
export type Nat =
  | { readonly kind: 'masquerade' }
  | { readonly kind: 'random' }
  | { readonly kind: 'block'; readonly first: number; readonly last: number; readonly random?: boolean }
  | { readonly kind: 'none' }

export interface HostOptions {
  /** The router whose network it is in; the core by default. */
  readonly behind?: Router
  /** Both by default. */
  readonly families?: readonly Family[]
}

export interface RouterOptions extends HostOptions {
  /** `masquerade` by default. */
  readonly nat?: Nat
  /** A carrier's: inside is 100.64/10, and IPv6 passes unfiltered. */
  readonly carrier?: boolean
  /** The first three bytes of its network inside, which other homes may have too: `192.168.1`. By default nobody else has them. */
  readonly lan4?: string
  /** IPv4 and IPv6 from outside only as answers, and where `forward` says so. True by default, except for a carrier. */
  readonly filter?: boolean
  /**
   * What becomes of packets from outside for the router itself. `accept` leaves an entry in conntrack for each, which takes the port from
   * the host inside that would have been given it; `drop`, the default, leaves none.
   */
  readonly input?: 'accept' | 'drop'
  /** False: no UDP comes in or goes out. True by default. */
  readonly udp?: boolean
}

export interface Node {
  readonly name: string
  /** As `ip netns` knows it. */
  readonly namespace: string
  /** Towards the core; empty where the family is not spoken. */
  readonly ip4: string
  readonly ip6: string
}

export interface Router extends Node {
  readonly lan: Lan
  readonly options: RouterOptions
}

interface Lan {
  readonly prefix4: string
  readonly prefix6: string
  hosts: number
}

const PREFIX = 'sallyport'

export class KernelNet {
  /** What the names of its namespaces begin with. */
  readonly name: string
  readonly #namespaces: string[] = []
  readonly #children = new Set<ChildProcess>()
  readonly #core: string
  #networks = 0

  private constructor(name: string) {
    this.name = name
    this.#core = `${name}-core`
  }

  /** An internet with nothing in it but its core. Takes away what killed runs have left. */
  static async create(): Promise<KernelNet> {
    await removeLeftovers()
    const net = new KernelNet(`${PREFIX}-${process.pid}-${randomBytes(3).toString('hex')}`)
    process.once('exit', net.#removeNow)
    try {
      await net.#addNamespace('core', true)
      return net
    } catch (error) {
      await net.close()
      throw error
    }
  }

  async host(name: string, options: HostOptions = {}): Promise<Node> {
    const namespace = await this.#addNamespace(name, false)
    return { name, namespace, ...(await this.#attach(namespace, 'eth0', options)) }
  }

  async router(name: string, options: RouterOptions = {}): Promise<Router> {
    const namespace = await this.#addNamespace(name, true)
    const addresses = await this.#attach(namespace, 'wan', options)
    const number = ++this.#networks
    const inside = options.nat?.kind === 'none' ? '5.1' : options.carrier ? '100.64' : '192.168'
    const lan: Lan = { prefix4: options.lan4 ?? `${inside}.${number}`, prefix6: `2a00:5:${hex(0x100 + number)}:`, hosts: 1 }
    await ip(namespace, [
      'link add lan type bridge',
      addresses.ip4 !== '' && `addr add ${lan.prefix4}.1/24 dev lan`,
      addresses.ip6 !== '' && `addr add ${lan.prefix6}:1/64 dev lan nodad`,
      addresses.ip6 !== '' && 'addr add fe80::1/64 dev lan nodad',
      'link set lan up',
    ])
    const router = { name, namespace, ...addresses, lan, options }
    await this.#announce(router)
    await nft(namespace, ruleset(options))
    return router
  }

  /** Sends UDP from outside to a host inside: the ports from `first` to `last`, or all. As a mapping by hand, or a "DMZ host". */
  async forward(router: Router, to: Node, first = 1, last: number = first === 1 ? 65_535 : first): Promise<void> {
    await nft(router.namespace, `add rule ip nat prerouting iifname wan udp dport ${first}-${last} dnat to ${to.ip4}`)
  }

  /** The router lets no UDP pass between its network and these addresses, either way, and keeps no state of what it drops. */
  async wall(router: Router, ...addresses: readonly string[]): Promise<void> {
    const rules = addresses.flatMap((address) => {
      const family = address.includes(':') ? 'ip6' : 'ip'
      return ['saddr', 'daddr'].map((end) => `${family} ${end} ${address} meta l4proto udp drop`)
    })
    // Ahead of the router's own rules, so that no chain of the two decides for the other.
    await nft(
      router.namespace,
      `
table inet wall {
  chain forward { type filter hook forward priority filter - 10; policy accept; ${rules.join('; ')}; }
}`,
    )
  }

  async liftWall(router: Router): Promise<void> {
    await nft(router.namespace, 'delete table inet wall')
  }

  /**
   * Its NAT starts again: masquerading forgets every flow when the interface goes down. From then on what comes from the port `from` inside
   * gets `to` outside, toward everybody, and all else another port than it had.
   */
  async reboot(router: Router, from: number, to: number): Promise<void> {
    const { namespace, ip4, ip6 } = router
    await nft(
      namespace,
      `
flush chain ip nat postrouting
add rule ip nat postrouting oifname wan udp sport ${from} masquerade to :${to}
add rule ip nat postrouting oifname wan meta l4proto udp masquerade to :20000-29999
add rule ip nat postrouting oifname wan masquerade`,
    )
    await ip(namespace, ['link set wan down'])
    await plug(namespace, 'wan', ip4, ip6)
  }

  /** Takes a host out of its network and puts it into another router's, where it has other addresses. */
  async move(host: Node, behind: Router): Promise<Node> {
    await ip(host.namespace, ['link del eth0'])
    return { ...host, ...(await this.#attach(host.namespace, 'eth0', { behind, families: familiesOf(host) })) }
  }

  /** Starts a program in a node. It is killed at the latest by `close`. */
  exec(node: Node, command: string, args: readonly string[], options: SpawnOptions = {}): ChildProcess {
    // `ip netns exec` becomes the program: the pid and the signals are the program's.
    const child = spawn('ip', ['netns', 'exec', node.namespace, command, ...args], options)
    this.#children.add(child)
    child.once('exit', () => this.#children.delete(child))
    child.once('error', () => this.#children.delete(child))
    return child
  }

  /** Runs a program in a node to its end, and gives what it printed. Rejects when it fails. */
  output(node: Node, command: string, ...args: string[]): Promise<string> {
    return run('ip', ['netns', 'exec', node.namespace, command, ...args])
  }

  /** Runs commands of nft in a node, as one transaction. */
  async rules(node: Node, commands: string): Promise<void> {
    await nft(node.namespace, commands)
  }

  /** The processes that are in a node. */
  async pids(node: Node): Promise<number[]> {
    return pidsIn(node.namespace)
  }

  /** Kills what runs in it and takes it down. Idempotent. */
  async close(): Promise<void> {
    process.off('exit', this.#removeNow)
    await Promise.all([...this.#children].map((child) => kill(child)))
    await Promise.all(this.#namespaces.splice(0).map((namespace) => removeNamespace(namespace)))
  }

  readonly #removeNow = (): void => {
    for (const child of this.#children) child.kill('SIGKILL')
    for (const namespace of this.#namespaces.splice(0)) spawnSync('ip', ['netns', 'del', namespace])
  }

  async #addNamespace(name: string, forwards: boolean): Promise<string> {
    if (!/^[a-z][a-z0-9-]*$/.test(name)) throw new TypeError(`name: lower-case letters, digits and hyphens, not ${name}`)
    const namespace = `${this.name}-${name}`
    await run('ip', ['netns', 'add', namespace])
    this.#namespaces.push(namespace)
    // Addresses are good at once: nobody else is there who could have the same (RFC 4862 5.4 takes a second to find out). Link-local ones
    // are given by hand (addr_gen_mode 1): the kernel's own come late, and a router asks for neighbours from no other.
    const settings = ['all/accept_dad=0', 'default/accept_dad=0', 'default/accept_ra=0', 'default/addr_gen_mode=1'].map(
      (setting) => `ipv6/conf/${setting}`,
    )
    if (forwards) settings.push('ipv4/ip_forward=1', 'ipv6/conf/all/forwarding=1')
    const script = settings
      .map((setting) => `echo ${setting.replace(/.*=/, '')} > /proc/sys/net/${setting.replace(/=.*/, '')}`)
      .join(' && ')
    await run('ip', ['netns', 'exec', namespace, 'sh', '-c', script])
    await ip(namespace, ['link set lo up'])
    return namespace
  }

  /** Plugs an interface of a namespace into a router's network, or gives it one of the core's. */
  async #attach(namespace: string, device: string, { behind, families = [4, 6] }: HostOptions): Promise<{ ip4: string; ip6: string }> {
    const number = behind === undefined ? ++this.#networks : ++behind.lan.hosts
    const port = behind === undefined ? `net${number}` : `port${number}`
    const upstream = behind?.namespace ?? this.#core
    const prefix4 = behind?.lan.prefix4 ?? `5.0.${number}`
    const prefix6 = behind?.lan.prefix6 ?? `2a00:5:${hex(number)}:`
    const last = behind === undefined ? 2 : number
    const ip4 = families.includes(4) && behind?.ip4 !== '' ? `${prefix4}.${last}` : ''
    const ip6 = families.includes(6) && behind?.ip6 !== '' ? `${prefix6}:${hex(last)}` : ''
    // Were the two ends of a cable numbered alike, the kernel would take up to a second to see that both are plugged in.
    await ip(upstream, [
      `link add ${port} index ${1000 + number} type veth peer name ${device} index 5000 netns ${namespace}`,
      behind !== undefined && `link set ${port} master lan`,
      behind === undefined && ip4 !== '' && `addr add ${prefix4}.1/24 dev ${port}`,
      behind === undefined && ip6 !== '' && `addr add ${prefix6}:1/64 dev ${port} nodad`,
      behind === undefined && ip6 !== '' && `addr add fe80::1/64 dev ${port} nodad`,
      `link set ${port} up`,
    ])
    await plug(namespace, device, ip4, ip6)
    return { ip4, ip6 }
  }

  /** Tells everybody between a router and the core where its network is, as far as its addresses mean something there. */
  async #announce(router: Router): Promise<void> {
    let via: Node = router
    for (let at = router.options.behind; ; via = at, at = at.options.behind) {
      const namespace = at?.namespace ?? this.#core
      await ip(namespace, [
        via.ip6 !== '' && `route add ${router.lan.prefix6}:/64 via ${via.ip6}`,
        via.ip4 !== '' && router.options.nat?.kind === 'none' && `route add ${router.lan.prefix4}.0/24 via ${via.ip4}`,
      ])
      if (at === undefined) return
    }
  }
}

/** Gives an interface its addresses, and the way out by the router, which is the network's `.1`. An empty address is none. */
async function plug(namespace: string, device: string, ip4: string, ip6: string): Promise<void> {
  const [prefix4, prefix6] = [ip4.replace(/\d+$/, ''), ip6.replace(/[^:]*$/, '')]
  await ip(namespace, [
    ip4 !== '' && `addr replace ${ip4}/24 dev ${device}`,
    ip6 !== '' && `addr replace ${ip6}/64 dev ${device} nodad`,
    ip6 !== '' && `addr replace fe80::${ip6.slice(prefix6.length)}/64 dev ${device} nodad`,
    `link set ${device} up`,
    ip4 !== '' && `route add default via ${prefix4}1`,
    ip6 !== '' && `route add default via ${prefix6}1`,
  ])
}

function familiesOf({ ip4, ip6 }: Node): readonly Family[] {
  return [...(ip4 === '' ? [] : ([4] as const)), ...(ip6 === '' ? [] : ([6] as const))]
}

function ruleset({ nat = { kind: 'masquerade' }, carrier = false, filter = !carrier, input = 'drop', udp = true }: RouterOptions): string {
  // Nothing from outside is new and for the inside, but what `forward` let in. Neighbour discovery is not the business of a firewall.
  const forward = filter ? 'iifname wan ct state established,related accept; iifname wan ct status dnat accept; iifname wan drop;' : ''
  // Of a bridge, some kernels have packets within the network come by here, too.
  const blocked = udp ? '' : 'iifname wan meta l4proto udp drop; oifname wan meta l4proto udp drop;'
  const own = input === 'drop' ? 'iifname wan ct state new,invalid meta l4proto != icmpv6 drop;' : ''
  return `
table inet filter {
  chain forward { type filter hook forward priority filter; policy accept; ${blocked} ${forward} }
  chain input { type filter hook input priority filter; policy accept; ${own} }
}
table ip nat {
  chain prerouting { type nat hook prerouting priority dstnat; policy accept; }
  chain postrouting { type nat hook postrouting priority srcnat; policy accept; ${translation(nat)} }
}`
}

function translation(nat: Nat): string {
  switch (nat.kind) {
    case 'masquerade':
      return 'oifname wan masquerade;'
    case 'random':
      return 'oifname wan masquerade fully-random;'
    case 'block': {
      const ports = `${nat.first}-${nat.last}${nat.random ? ' fully-random' : ''}`
      return `oifname wan meta l4proto udp masquerade to :${ports}; oifname wan masquerade;`
    }
    case 'none':
      return ''
  }
}

/** Takes away the namespaces of processes that are no more. */
async function removeLeftovers(): Promise<void> {
  const list = await run('ip', ['netns', 'list'])
  const names = list.split('\n').map((line) => line.split(' ')[0] ?? '')
  const left = names.filter((name) => {
    const [, pid] = new RegExp(`^${PREFIX}-(\\d+)-`).exec(name) ?? []
    return pid !== undefined && !isAlive(Number(pid))
  })
  await Promise.all(left.map((namespace) => removeNamespace(namespace)))
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

async function removeNamespace(namespace: string): Promise<void> {
  // A namespace lives as long as somebody is in it: a grandchild that outlived its parent, or the program of a killed run.
  for (const pid of await pidsIn(namespace).catch(() => [])) {
    try {
      process.kill(pid, 'SIGKILL')
    } catch {
      // gone by itself
    }
  }
  // Another run may have taken away the same leftover meanwhile.
  await run('ip', ['netns', 'del', namespace]).catch(() => '')
}

async function pidsIn(namespace: string): Promise<number[]> {
  const lines = await run('ip', ['netns', 'pids', namespace])
  return lines
    .split('\n')
    .filter((line) => line !== '')
    .map(Number)
}

async function kill(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return
  const gone = once(child, 'exit')
  child.kill('SIGKILL')
  await gone
}

/** Several commands of iproute2 in one process; what is false is left out. */
function ip(namespace: string, lines: readonly (string | false)[]): Promise<string> {
  return run('ip', ['-n', namespace, '-batch', '-'], `${lines.filter((line) => line !== false).join('\n')}\n`)
}

function hex(number: number): string {
  return number.toString(16)
}

function nft(namespace: string, rules: string): Promise<string> {
  return run('ip', ['netns', 'exec', namespace, 'nft', '-f', '-'], rules)
}

function run(command: string, args: readonly string[], input?: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = execFile(command, args, { timeout: 20_000 }, (error, stdout, stderr) => {
      if (error) reject(new Error(`${command} ${args.join(' ')}: ${stderr || error.message}`, { cause: error }))
      else resolve(stdout)
    })
    if (input === undefined) return
    // A program that gives up early says so by its exit, not by its standard input.
    child.stdin?.on('error', () => {})
    child.stdin?.end(input)
  })
}
