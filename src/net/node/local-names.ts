/**
 * Names under `.local`, asked for by multicast (RFC 6762), with the package multicast-dns: an optional peer dependency, loaded when the
 * first such name turns up. Its sockets are open only while somebody waits for an answer.
 */
import { createSocket } from 'node:dgram'
import type { MulticastDNS, Options, ResponsePacket } from 'multicast-dns'
import { SallyportError } from '../../errors.ts'
import { Address, type Family } from '../address.ts'
import type { InterfaceAddress, Interfaces } from '../interfaces.ts'
import { FIRST_REPEAT, isLocalName } from '../local-name.ts'

export type MakeMulticastDns = (options: Options) => MulticastDNS

const PACKAGE = 'multicast-dns'
const PORT = 5353
const RECORD = { 4: 'A', 6: 'AAAA' } as const

/** One interface and family to ask on. */
interface Link {
  readonly key: string
  readonly family: Family
  readonly options: Options
  /** Added to link-local answers, which mean nothing without it (RFC 4007). */
  readonly zone: string
}

interface OpenLink extends Link {
  readonly socket: MulticastDNS
  users: number
  failure: Error | undefined
}

export class LocalNames {
  readonly #interfaces: Interfaces
  readonly #load: () => Promise<{ readonly default: MakeMulticastDns }>
  readonly #open = new Map<string, OpenLink>()

  constructor(interfaces: Interfaces, load: () => Promise<{ readonly default: MakeMulticastDns }> = () => import('multicast-dns')) {
    this.#interfaces = interfaces
    this.#load = load
  }

  /** As `Dns.lookupLocal`. */
  async lookup(name: string, { from, signal }: { readonly from: readonly Address[]; readonly signal: AbortSignal }): Promise<string> {
    signal.throwIfAborted()
    if (!isLocalName(name)) throw new SallyportError('ERR_DNS', `${name} is not one label and .local`)
    const make = await this.#package()
    signal.throwIfAborted()
    const links = linksOf(from, this.#interfaces.list())
    if (links.length === 0) throw new SallyportError('ERR_DNS', 'none of our addresses is on a link to ask on')
    const open = links.map((link) => this.#use(link, make))
    try {
      return await ask(name, open, signal)
    } finally {
      for (const link of open) this.#release(link)
    }
  }

  async #package(): Promise<MakeMulticastDns> {
    try {
      return (await this.#load()).default
    } catch (cause) {
      throw new SallyportError('ERR_DNS', `names under .local need the package ${PACKAGE}: npm install ${PACKAGE}`, { cause })
    }
  }

  #use(link: Link, make: MakeMulticastDns): OpenLink {
    const present = this.#open.get(link.key)
    if (present !== undefined) {
      present.users++
      return present
    }
    const socket = make(link.options)
    // Every name that is asked for listens to every link.
    socket.setMaxListeners(0)
    const open: OpenLink = { ...link, socket, users: 1, failure: undefined }
    socket.on('error', (error: Error) => {
      open.failure = error
    })
    this.#open.set(link.key, open)
    return open
  }

  #release(link: OpenLink): void {
    if (--link.users > 0) return
    this.#open.delete(link.key)
    link.socket.destroy()
  }
}

function ask(name: string, links: readonly OpenLink[], signal: AbortSignal): Promise<string> {
  return new Promise((resolve, reject) => {
    let timer: NodeJS.Timeout | undefined
    const stops: (() => void)[] = []
    const stop = (): void => {
      clearTimeout(timer)
      signal.removeEventListener('abort', aborted)
      for (const one of stops) one()
    }
    const aborted = (): void => {
      stop()
      reject(signal.reason)
    }
    const checkUsable = (): boolean => {
      const [failure] = links.map((link) => link.failure)
      if (links.some((link) => link.failure === undefined)) return true
      stop()
      reject(new SallyportError('ERR_DNS', `no socket to ask with: ${failure?.message}`, { cause: failure }))
      return false
    }
    signal.addEventListener('abort', aborted, { once: true })
    for (const { socket, zone } of links) {
      const heard = (response: ResponsePacket, { port }: { readonly port: number }): void => {
        // Anybody can send us an answer; one from another port is none (RFC 6762 6).
        const ip = port === PORT ? addressIn(response, name, zone) : undefined
        if (ip === undefined) return
        stop()
        resolve(ip)
      }
      socket.on('response', heard)
      socket.on('error', checkUsable)
      stops.push(() => void socket.off('response', heard).off('error', checkUsable))
    }
    const put = (repeat: number): void => {
      if (!checkUsable()) return
      // A question of its own for each type: some responders read the first one only.
      for (const { socket, family } of links) socket.query([{ name, type: RECORD[family] }])
      timer = setTimeout(() => put(2 * repeat), repeat)
    }
    put(FIRST_REPEAT)
  })
}

/** The first address that a response has for a name. */
function addressIn({ answers = [], additionals = [] }: ResponsePacket, name: string, zone: string): string | undefined {
  for (const record of [...answers, ...additionals]) {
    if (record.type !== 'A' && record.type !== 'AAAA') continue
    // A time to live of 0 says goodbye (RFC 6762 10.1).
    if (record.name.toLowerCase() !== name.toLowerCase() || record.ttl === 0) continue
    const address = Address.tryOf(record.data, 0)
    if (address === undefined) continue
    return address.family === 6 && address.scope === 'link-local' ? `${address.ip}%${zone}` : address.ip
  }
  return undefined
}

/** The links that addresses of ours are on, each once. */
function linksOf(from: readonly Address[], list: readonly InterfaceAddress[]): readonly Link[] {
  const links = new Map<string, Link>()
  for (const { ip, family } of from) {
    const entry = list.find(({ address }) => address.ip === ip)
    if (entry === undefined) continue
    // Windows names zones by numbers, which only a link-local address shows.
    const zone = list.find(({ name, address }) => name === entry.name && address.zone !== '')?.address.zone ?? entry.name
    const key = `${family} ${entry.name}`
    if (!links.has(key)) links.set(key, { key, family, zone, options: optionsFor(family, ip, zone) })
  }
  return [...links.values()]
}

function optionsFor(family: Family, ip: string, zone: string): Options {
  // Bound to the wildcard: a socket bound to an address is not given what comes to the group.
  if (family === 4) return { interface: ip, bind: '0.0.0.0' }
  const socket = createSocket({ type: 'udp6', reuseAddr: true, ipv6Only: true })
  return { type: 'udp6', ip: 'ff02::fb', interface: `::%${zone}`, bind: '::', socket }
}
