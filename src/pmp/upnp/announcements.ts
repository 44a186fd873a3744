/**
 * Hears a router's SSDP announcements (UPnP Device Architecture 2.0 1.2): that it leaves, that it is back, and by BOOTID.UPNP.ORG, location or
 * UUID that it is not who it was. Only the router's own address counts; a flood from it costs a look at each and one word in ten seconds.
 */
import type { Address, DatagramHandler, DatagramSocket, Network, Timer, Timers } from '../../net/index.ts'
import type { Uplink } from '../protocol.ts'
import { isGatewayType, readSsdp, SSDP_GROUP, SSDP_PORT, type SsdpMessage, uuidOf } from './ssdp-message.ts'

/** Milliseconds in which a router that said goodbye is expected back; after them it is asked all the same. */
const GOODBYE = 5000
/** Milliseconds between two words of ours. */
const QUIET = 10_000
/** Types whose state is remembered. */
const MOST_TYPES = 16

interface State {
  readonly uuid: string | undefined
  readonly location: string | undefined
  readonly bootId: string | undefined
}

export interface AnnouncementsOptions {
  readonly network: Network
  readonly timers: Timers
  readonly uplink: Uplink
  /** It has started anew, or may have: once for each time. */
  readonly restarted: () => void
}

export class Announcements implements DatagramHandler {
  readonly #options: AnnouncementsOptions
  readonly #states = new Map<string, State>()
  /** Where the router's answers came from: over IPv6 not always the address that the route names. */
  #answered: Address | undefined
  #socket: DatagramSocket | undefined
  #closed = false
  /** Set while a goodbye waits for the router to come back. */
  #goodbye: Timer | undefined
  /** Set while a word waits for the quiet time to end. */
  #due: Timer | undefined
  #said = Number.NEGATIVE_INFINITY

  constructor(options: AnnouncementsOptions) {
    this.#options = options
  }

  /** Never rejects: where the port cannot be had there are no announcements. */
  async start(): Promise<void> {
    const { network, uplink } = this.#options
    const { family } = uplink.local.address
    try {
      const socket = await network.bind({ family, port: SSDP_PORT, multicast: { on: uplink.local, groups: [SSDP_GROUP[family]] } })
      if (this.#closed) socket.close()
      else {
        this.#socket = socket
        socket.handle(this)
      }
    } catch {
      // Another program has it for itself. Renewals find out by themselves, later.
    }
  }

  /** Idempotent. */
  close(): void {
    this.#closed = true
    this.#goodbye?.cancel()
    this.#due?.cancel()
    this.#socket?.close()
    this.#socket = undefined
  }

  /** What an answer to a search said of the router: the state to compare with. */
  learn(message: SsdpMessage, from: Address): void {
    this.#answered = from
    const type = message.headers.get('st')
    if (type !== undefined && isGatewayType(type)) this.#remember(unversioned(type), stateOf(message))
  }

  datagram(data: Uint8Array, from: Address): void {
    if (this.#closed || !this.#mayBeRouter(from)) return
    const message = readSsdp(data)
    const type = message?.headers.get('nt')
    if (message?.kind !== 'notify' || type === undefined || !isGatewayType(type)) return
    if (!this.#isRouter(from) && !this.#isKnown(uuidOf(message.headers.get('usn')))) return
    const word = message.headers.get('nts')?.toLowerCase()
    if (word === 'ssdp:byebye') this.#leaves()
    // `ssdp:update` announces the BOOTID that is to come without a restart: UPnP Device Architecture 2.0 1.2.4.
    else if (word === 'ssdp:update')
      this.#remember(unversioned(type), { ...stateOf(message), bootId: message.headers.get('nextbootid.upnp.org') })
    else if (word === 'ssdp:alive') this.#stands(unversioned(type), stateOf(message))
  }

  sendFailed(): void {}
  drained(): void {}
  lost(): void {
    this.close()
  }

  #isRouter(from: Address): boolean {
    return from.sameIp(this.#options.uplink.router) || this.#answered?.sameIp(from) === true
  }

  /** Over IPv6 an interface of the router has several addresses, and any of them may be the source: then the UUID has to be the router's. */
  #mayBeRouter(from: Address): boolean {
    return this.#isRouter(from) || (from.family === 6 && from.scope === 'link-local')
  }

  #isKnown(uuid: string | undefined): boolean {
    return uuid !== undefined && [...this.#states.values()].some((state) => state.uuid === uuid)
  }

  #leaves(): void {
    this.#goodbye ??= this.#options.timers.after(GOODBYE, () => {
      this.#goodbye = undefined
      this.#say()
    })
  }

  #stands(type: string, state: State): void {
    const before = this.#states.get(type)
    this.#remember(type, state)
    const left = this.#goodbye !== undefined
    const changed = before !== undefined && !isSame(before, state)
    if (!left && !changed) return
    this.#goodbye?.cancel()
    this.#goodbye = undefined
    // Its other types tell the same: each would be another change.
    for (const other of [...this.#states.keys()]) if (other !== type) this.#states.delete(other)
    this.#say()
  }

  #remember(type: string, state: State): void {
    if (this.#states.size < MOST_TYPES || this.#states.has(type)) this.#states.set(type, state)
  }

  #say(): void {
    const { timers, restarted } = this.#options
    if (this.#due !== undefined) return
    const now = timers.now()
    if (now >= this.#said + QUIET) {
      this.#said = now
      restarted()
      return
    }
    this.#due = timers.at(this.#said + QUIET, () => {
      this.#due = undefined
      this.#say()
    })
  }
}

/** Routers answer with the version that they were asked for, and announce the one that they have. */
function unversioned(type: string): string {
  return type.replace(/:[0-9]+$/, '')
}

function stateOf({ headers }: SsdpMessage): State {
  return { uuid: uuidOf(headers.get('usn')), location: headers.get('location'), bootId: headers.get('bootid.upnp.org') }
}

/** What one of them does not say is no difference. */
function isSame(a: State, b: State): boolean {
  return (['uuid', 'location', 'bootId'] as const).every((key) => a[key] === undefined || b[key] === undefined || a[key] === b[key])
}
