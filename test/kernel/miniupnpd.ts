/**
 * A real router's port mapping: miniupnpd (UPnP IGD 1 or 2, NAT-PMP, PCP, pinholes in the IPv6 firewall) on a router of these namespaces, and
 * what its packet filter has become by it, as data. `describe('…', requires(PORT_MAPPING), …)`.
 *
 * Two things of miniupnpd 2.3.1 to know: a router whose WAN address is reserved maps nothing (all addresses of `KernelNet` are public, but a
 * carrier's inside), and NAT-PMP and PCP are one switch, so either alone is made with a filter in front of it.
 */
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Requirements } from '../requirements.ts'
import { KERNEL, type KernelNet, type Router } from './namespaces.ts'

export const PORT_MAPPING: Requirements = {
  ...KERNEL,
  commands: { ...KERNEL.commands, miniupnpd: 'miniupnpd-nftables', upnpc: 'miniupnpc', natpmpc: 'natpmpc' },
}

/** Of the router, and so of everything that it says to its network. */
const DEVICE = 'lan'
const HTTP_PORT = 5000
const UUID = '7a1b54a0-0000-4000-8000-000000000001'
/** Milliseconds. It takes some tens, where the machine has time. */
const START = 20_000
const CHAINS = ['miniupnpd', 'prerouting_miniupnpd', 'postrouting_miniupnpd'] as const

export interface MiniupnpdOptions {
  /** True by default. */
  readonly upnp?: boolean
  /** NAT-PMP and PCP: both by default, false for none. */
  readonly pxp?: boolean | 'nat-pmp' | 'pcp'
  /** Describes itself as IGD version 1: no AddAnyPortMapping, no pinholes. False by default. */
  readonly igd1?: boolean
  /** The address that it says it has outside, whatever it has. */
  readonly externalIp?: string
  /** Seconds, of PCP. 120 and 86400 by default, which are miniupnpd's. */
  readonly lifetimes?: readonly [least: number, most: number]
  /** Further lines of its configuration. */
  readonly lines?: readonly string[]
}

/** A mapping or a pinhole, as the packet filter has it. */
export interface Opening {
  readonly transport: 'udp' | 'tcp'
  /** For a pinhole the address inside and its port. */
  readonly external: { readonly ip?: string; readonly port: number }
  readonly internal: { readonly ip: string; readonly port: number }
}

/** A rule as `nft --json list ruleset` has it. */
export interface Rule {
  readonly family: string
  readonly table: string
  readonly chain: string
  readonly expr: readonly unknown[]
}

export class Miniupnpd {
  readonly router: Router
  readonly #net: KernelNet
  readonly #folder = mkdtempSync(join(tmpdir(), 'miniupnpd-'))
  #options: MiniupnpdOptions
  #child: ChildProcess | undefined
  #log: string[] = []

  private constructor(net: KernelNet, router: Router, options: MiniupnpdOptions) {
    this.#net = net
    this.router = router
    this.#options = options
  }

  /** On a router that has no such daemon yet. Resolves once it answers. */
  static async start(net: KernelNet, router: Router, options: MiniupnpdOptions = {}): Promise<Miniupnpd> {
    await net.rules(router, TABLES)
    // It does not say on which link it announces itself over IPv6; the kernel would choose any.
    if (router.ip6 !== '') await net.output(router, 'ip', '-6', 'route', 'replace', 'multicast', 'ff02::1', 'dev', DEVICE, 'table', 'local')
    const daemon = new Miniupnpd(net, router, options)
    await daemon.start()
    return daemon
  }

  /** What it wrote since it was started last. */
  get log(): string {
    return this.#log.join('\n')
  }

  /** Where it describes itself to UPnP. */
  get description(): string {
    return `http://${this.router.lan.prefix4}.1:${HTTP_PORT}/rootDesc.xml`
  }

  /** Starts it, with other options than before where some are given. */
  async start(options: MiniupnpdOptions = this.#options): Promise<void> {
    if (this.#child !== undefined) throw new Error('miniupnpd runs already')
    this.#options = options
    const file = join(this.#folder, 'conf')
    writeFileSync(file, configuration(this.router, options))
    await this.#net.rules(this.router, gate(options.pxp ?? true))
    // Only in the foreground (-d) it tells what it does.
    const child = this.#net.exec(this.router, 'miniupnpd', ['-d', '-f', file, '-P', join(this.#folder, 'pid')], { stdio: 'pipe' })
    this.#child = child
    this.#log = []
    child.once('exit', () => {
      if (this.#child === child) this.#child = undefined
    })
    await this.#listening(child, options)
  }

  /** As by a crash or without current: no word to anybody, and nothing of it is left. */
  async kill(): Promise<void> {
    await this.#end('SIGKILL')
    await this.clear()
  }

  /** In good order: UPnP says goodbye. Its rules stay in the packet filter, as miniupnpd leaves them. */
  async stop(): Promise<void> {
    await this.#end('SIGTERM')
  }

  /** Empties its chains in the packet filter, of which it is not told. */
  async clear(): Promise<void> {
    await this.#net.rules(this.router, CHAINS.map((chain) => `flush chain inet filter ${chain}`).join('\n'))
  }

  /** Its files. The process ends with the `KernelNet`, at the latest. */
  async remove(): Promise<void> {
    await this.#end('SIGKILL')
    rmSync(this.#folder, { recursive: true, force: true })
  }

  /** Another address outside, in the same network. The old one goes after the new one has come, so that the interface never has none. */
  async renumber(ip4: string): Promise<void> {
    const { router } = this
    const old = await this.#net.output(router, 'ip', '-4', '-brief', 'address', 'show', 'dev', 'wan')
    const [, was = ''] = /UP\s+(\S+)/.exec(old) ?? []
    // Else the kernel takes the second address of a network away with the first one.
    await this.#net.output(router, 'sh', '-c', 'echo 1 > /proc/sys/net/ipv4/conf/wan/promote_secondaries')
    await this.#net.output(router, 'ip', 'address', 'add', `${ip4}/24`, 'dev', 'wan')
    await this.#net.output(router, 'ip', 'address', 'del', was, 'dev', 'wan')
    await this.#net.output(router, 'ip', 'route', 'replace', 'default', 'via', ip4.replace(/\d+$/, '1'))
  }

  /** What the packet filter lets in for it: the proof that there is a mapping, or that there is none left. */
  async openings(): Promise<readonly Opening[]> {
    const rules = await this.rules()
    return rules.flatMap((rule) => openingOf(rule) ?? [])
  }

  /** All rules in the chains that are its own, of which a mapping over IPv4 has two. */
  async rules(): Promise<readonly Rule[]> {
    const text = await this.#net.output(this.router, 'nft', '--json', '--numeric', 'list', 'table', 'inet', 'filter')
    const { nftables } = JSON.parse(text) as { readonly nftables: readonly { readonly rule?: Rule }[] }
    return nftables.flatMap(({ rule }) => (rule !== undefined && CHAINS.some((chain) => chain === rule.chain) ? [rule] : []))
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    const child = this.#child
    if (child === undefined) return
    const gone = once(child, 'exit')
    child.kill(signal)
    await gone
  }

  /** Until it has said that it listens with all that it was asked for; its sockets are there before it says so. */
  #listening(child: ChildProcess, { upnp = true, pxp = true }: MiniupnpdOptions): Promise<void> {
    const wanted = [...(upnp ? ['HTTP listening'] : []), ...(pxp === false ? [] : ['Listening for NAT-PMP/PCP'])]
    return new Promise((resolve, reject) => {
      const fail = (why: string): void => reject(new Error(`miniupnpd ${why}:\n${this.log}`))
      const timer = setTimeout(() => fail('does not listen'), START)
      child.once('error', ({ message }) => fail(message))
      child.once('exit', () => fail('ended'))
      createInterface({ input: child.stderr as NodeJS.ReadableStream }).on('line', (line) => {
        this.#log.push(line)
        if (!wanted.every((word) => this.#log.some((written) => written.includes(word)))) return
        clearTimeout(timer)
        resolve()
      })
    })
  }
}

/** Where miniupnpd writes, reached ahead of what the router has by itself: what drops there would drop for both. */
const TABLES = `
table inet filter {
  chain miniupnpd { }
  chain prerouting_miniupnpd { }
  chain postrouting_miniupnpd { }
  chain prerouting { type nat hook prerouting priority dstnat - 1; policy accept; jump prerouting_miniupnpd; }
  chain postrouting { type nat hook postrouting priority srcnat - 1; policy accept; jump postrouting_miniupnpd; }
}
insert rule inet filter forward jump miniupnpd`

/**
 * Lets requests of only one of the two protocols on the port in: the first byte is 0 for NAT-PMP and 2 for PCP. Where there is to be neither, PCP over
 * IPv6 has to be kept out all the same: miniupnpd speaks it whatever it was told. What it says unasked goes out: it has PCP's words alone for that.
 */
function gate(pxp: boolean | 'nat-pmp' | 'pcp'): string {
  const kept = pxp === 'nat-pmp' ? '@th,64,8 2 drop' : pxp === 'pcp' ? '@th,64,8 0 drop' : 'reject'
  const rule = pxp === true ? '' : `udp dport 5351 ${kept};`
  return `
table inet gate
delete table inet gate
table inet gate {
  chain input { type filter hook input priority filter - 5; policy accept; ${rule} }
}`
}

function configuration(router: Router, options: MiniupnpdOptions): string {
  const { upnp = true, pxp = true, igd1 = false, externalIp, lifetimes: [least, most] = [120, 86_400], lines = [] } = options
  const yes = (on: boolean): string => (on ? 'yes' : 'no')
  return [
    'ext_ifname=wan',
    // By its name: an address here would leave IPv6 out.
    `listening_ip=${DEVICE}`,
    `http_port=${HTTP_PORT}`,
    `enable_upnp=${yes(upnp)}`,
    `enable_natpmp=${yes(pxp !== false)}`,
    `min_lifetime=${least}`,
    `max_lifetime=${most}`,
    'secure_mode=yes',
    'system_uptime=no',
    `force_igd_desc_v1=${yes(igd1)}`,
    ...(externalIp === undefined ? [] : [`ext_ip=${externalIp}`]),
    `uuid=${UUID}`,
    ...lines,
    ...(router.ip4 === '' ? [] : [`allow 1024-65535 ${router.lan.prefix4}.0/24 1024-65535`]),
    'deny 0-65535 0.0.0.0/0 0-65535',
    '',
  ].join('\n')
}

/**
 * A `dnat` is a mapping. For each there is a rule that accepts in the chain of the filter too, which says nothing more; those for IPv6
 * are pinholes. miniupnpd matches bytes of the header, not fields: the protocol at bit 72 (IPv6: 48), the destination at 128 (192).
 */
function openingOf({ chain, expr }: Rule): Opening | undefined {
  const matched = new Map<string, string | number>()
  let dnat: { readonly addr: string; readonly port: number } | undefined
  for (const part of expr as readonly Expression[]) {
    if (part.dnat !== undefined) dnat = part.dnat
    if (part.match === undefined) continue
    const { payload } = part.match.left
    if (payload !== undefined) matched.set(payload.field ?? `${payload.base},${payload.offset}`, part.match.right)
  }
  const port = Number(matched.get('dport'))
  if (dnat !== undefined) {
    return { transport: transportOf(matched.get('nh,72')), external: { port }, internal: { ip: dnat.addr, port: dnat.port } }
  }
  const destination = matched.get('nh,192')
  if (chain !== 'miniupnpd' || destination === undefined) return undefined
  const end = { ip: ip6Of(String(destination)), port }
  return { transport: transportOf(matched.get('nh,48')), external: end, internal: end }
}

interface Expression {
  readonly match?: {
    readonly left: { readonly payload?: { readonly field?: string; readonly base?: string; readonly offset?: number } }
    readonly right: string | number
  }
  readonly dnat?: { readonly addr: string; readonly port: number }
}

function transportOf(protocol: string | number | undefined): 'udp' | 'tcp' {
  if (protocol === 17) return 'udp'
  if (protocol === 6) return 'tcp'
  throw new Error(`neither UDP nor TCP: ${protocol}`)
}

/** From `0x2a00…`, the shortest form. */
function ip6Of(hex: string): string {
  const groups = hex.replace(/^0x/, '').padStart(32, '0').match(/.{4}/g) ?? []
  return new URL(`http://[${groups.join(':')}]`).hostname.slice(1, -1)
}
