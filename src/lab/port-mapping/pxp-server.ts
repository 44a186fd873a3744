/**
 * The one port on which a router speaks NAT-PMP and PCP, with the announcements of both (RFC 6886 3.2.1, RFC 6887 14.1), and what faults do to
 * the datagrams that leave it.
 */
import type { Address, DatagramSocket, Family } from '../../net/index.ts'
import { Address as NetAddress } from '../../net/index.ts'
import type { LabHost } from '../host.ts'
import { answerNatPmp, externalAddress, refuseVersion } from './nat-pmp.ts'
import { type AnswerFlaw, affects, type PortMappingProtocol, valueFor } from './options.ts'
import { announcement, answerPcp, refuseNatPmp } from './pcp.ts'
import { own, type Setting } from './setting.ts'

const SERVER_PORT = 5351
const CLIENT_PORT = 5350
const GROUPS = { 4: NetAddress.of('224.0.0.1', CLIENT_PORT), 6: NetAddress.of('ff02::1', CLIENT_PORT) } as const
/** RFC 6886 3.2.1: ten announcements, the second a quarter of a second after the first, each wait twice the one before. */
const ANNOUNCEMENTS = 10
const FIRST_WAIT = 250
/** Where nobody is, RFC 5737: what a spoofed answer says. */
const FALSE_ADDRESS = [192, 0, 2, 66]

export class PxpServer {
  readonly #setting: Setting
  readonly #sockets = new Map<Family, DatagramSocket>()
  readonly #others = new Map<LabHost, Map<Family, DatagramSocket>>()
  /** Counts the series of announcements: a later one ends the earlier ones. */
  #series = 0

  constructor(setting: Setting) {
    this.#setting = setting
  }

  start(): void {
    const { host } = this.#setting
    for (const family of [4, 6] as const) {
      const on = own(host, family)
      if (on === undefined) continue
      const socket = host.bindNow({ family, ip: on.address.ip, port: SERVER_PORT, multicast: { on } })
      socket.handle({ datagram: (data, from) => this.#receive(data, from), sendFailed: () => {}, drained: () => {}, lost: () => {} })
      this.#sockets.set(family, socket)
    }
  }

  /** Says that it has started. */
  announce(): void {
    const { options } = this.#setting
    const series = ++this.#series
    const natPmp = options.natPmp !== false
    const pcp = options.pcp !== false
    const say = (left: number, wait: number): void => {
      if (this.#series !== series) return
      const once = options.like === 'miniupnpd'
      const first = left === ANNOUNCEMENTS
      if (natPmp && (!once || first)) this.#multicast('nat-pmp', 4, externalAddress(this.#setting))
      if (pcp && (!once || first)) {
        const packet = announcement(this.#setting, once ? 0 : this.#setting.epochSeconds())
        for (const family of [4, 6] as const) this.#multicast('pcp', family, packet)
      }
      if (left > 1 && !once) this.#later(wait, () => say(left - 1, 2 * wait))
    }
    say(ANNOUNCEMENTS, FIRST_WAIT)
  }

  #multicast(protocol: PortMappingProtocol, family: Family, packet: Uint8Array): void {
    if (affects(this.#setting.faults().silent, protocol)) return
    this.#sockets.get(family)?.send(packet, GROUPS[family])
  }

  #receive(request: Uint8Array, from: Address): void {
    const { options } = this.#setting
    const natPmp = options.natPmp !== false
    const pcp = options.pcp !== false
    const protocol = request[0] === 0 ? 'nat-pmp' : 'pcp'
    if (affects(this.#setting.faults().silent, protocol)) return
    let answer: Uint8Array | undefined
    // NAT-PMP has no IPv6.
    if (protocol === 'nat-pmp' && natPmp && from.family === 4) answer = answerNatPmp(this.#setting, request, from)
    else if (protocol === 'nat-pmp') answer = pcp ? refuseNatPmp(this.#setting, request) : undefined
    else if (pcp) answer = answerPcp(this.#setting, request, from)
    else if (from.family === 4) answer = refuseVersion(this.#setting, request)
    if (answer !== undefined) this.#answer(protocol, answer, from)
  }

  #answer(protocol: PortMappingProtocol, answer: Uint8Array, to: Address): void {
    const { spoofed, otherPort, delay, malformed } = this.#setting.faults()
    if (affects(spoofed, protocol)) this.#from(this.#setting.neighbour().host, SERVER_PORT, to.family)?.send(forged(answer), to)
    const flaw = valueFor(malformed, protocol)
    const bytes = flaw === undefined ? answer : spoilt(this.#setting, answer, flaw)
    const send = (): void => {
      const socket = affects(otherPort, protocol) ? this.#from(this.#setting.host, 0, to.family) : this.#sockets.get(to.family)
      socket?.send(bytes, to)
    }
    const late = valueFor(delay, protocol) ?? 0
    if (late > 0) this.#later(late, send)
    else send()
  }

  /** A socket of another host or port that answers only. */
  #from(host: LabHost, port: number, family: Family): DatagramSocket | undefined {
    const sockets = this.#others.get(host) ?? new Map<Family, DatagramSocket>()
    this.#others.set(host, sockets)
    const standing = sockets.get(family)
    if (standing !== undefined) return standing
    const on = own(host, family)
    if (on === undefined) return undefined
    const socket = host.bindNow({ family, ip: on.address.ip, port })
    sockets.set(family, socket)
    return socket
  }

  #later(milliseconds: number, callback: () => void): void {
    const { clock } = this.#setting
    clock.wake(clock.now() + milliseconds, callback)
  }
}

/** The same answer with another external port and address, where it has them. */
function forged(answer: Uint8Array): Uint8Array {
  const copy = answer.slice()
  const view = new DataView(copy.buffer)
  if (copy[0] === 0 && copy.length === 12) copy.set(FALSE_ADDRESS, 8)
  if (copy[0] === 0 && copy.length === 16) view.setUint16(10, 6666)
  if (copy[0] !== 0 && copy.length >= 60) {
    view.setUint16(42, 6666)
    copy.set(FALSE_ADDRESS, 56)
  }
  return copy
}

function spoilt({ random }: Setting, answer: Uint8Array, flaw: AnswerFlaw): Uint8Array {
  const copy = answer.slice()
  switch (flaw) {
    case 'truncated':
      return copy.subarray(0, copy.length >> 1)
    case 'garbage':
      return random.bytes(copy.length)
    case 'opcode':
      copy[1] = (copy[1] as number) ^ 3
      return copy
    case 'mismatch':
      if (copy[0] === 0 && copy.length === 16) copy[9] = (copy[9] as number) ^ 1
      if (copy[0] !== 0 && copy.length >= 60) copy[24] = (copy[24] as number) ^ 1
      return copy
    case 'oversized': {
      const long = new Uint8Array(1500)
      long.set(copy)
      return long
    }
    default:
      return copy
  }
}
