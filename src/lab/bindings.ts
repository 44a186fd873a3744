/**
 * Which UDP socket of a host has which address and port. A socket on the wildcard and one on an address cannot share a port, unless both
 * take part in multicast.
 */
import type { Address } from '../net/index.ts'
import type { LabSocket } from './socket.ts'

export class Bindings {
  readonly #byPort = new Map<number, LabSocket[]>()

  add(socket: LabSocket): void {
    const key = portKey(socket.local)
    this.#byPort.set(key, [...(this.#byPort.get(key) ?? []), socket])
  }

  remove(socket: LabSocket): void {
    const key = portKey(socket.local)
    const left = (this.#byPort.get(key) ?? []).filter((other) => other !== socket)
    if (left.length === 0) this.#byPort.delete(key)
    else this.#byPort.set(key, left)
  }

  /** `sharing`: with all others that share. */
  free(local: Address, sharing: boolean): boolean {
    const others = this.#byPort.get(portKey(local))
    if (others === undefined) return true
    if (sharing && others.every((socket) => socket.membership !== undefined)) return true
    if (local.scope === 'unspecified') return false
    return others.every((socket) => socket.local.scope !== 'unspecified' && socket.local.key !== local.key)
  }

  /** The socket for a destination: the one bound to it, else the one on the wildcard; of several the last, as on Linux. */
  find(to: Address): LabSocket | undefined {
    const sharing = this.#byPort.get(portKey(to))
    if (sharing === undefined) return undefined
    let found: LabSocket | undefined
    for (const socket of sharing) {
      if (socket.local.ip === to.ip) found = socket
      else if (socket.local.scope === 'unspecified' && found?.local.ip !== to.ip) found = socket
    }
    return found
  }

  /** The sockets that hear what an interface (`lo` is one) gets for a group. One that joined none, on the wildcard, hears them all. */
  hearing(group: Address, link: string): LabSocket[] {
    const sharing = this.#byPort.get(portKey(group)) ?? []
    return sharing.filter(({ local, membership }) => {
      return local.scope === 'unspecified' && (membership === undefined || (membership.link === link && membership.groups.has(group.ip)))
    })
  }

  /** Those bound to one of the given IPs. */
  on(ips: ReadonlySet<string>): LabSocket[] {
    return [...this.#byPort.values()].flat().filter((socket) => ips.has(socket.local.ip))
  }
}

function portKey(address: Address): number {
  return address.family * 0x1_0000 + address.port
}
