/** Which UDP socket of a host has which address and port. A socket on the wildcard and one on an address cannot share a port. */
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

  free(local: Address): boolean {
    const sharing = this.#byPort.get(portKey(local))
    if (sharing === undefined) return true
    if (local.scope === 'unspecified') return false
    return sharing.every((socket) => socket.local.scope !== 'unspecified' && socket.local.key !== local.key)
  }

  /** The socket for a destination: the one bound to it, else the one on the wildcard. */
  find(to: Address): LabSocket | undefined {
    const sharing = this.#byPort.get(portKey(to))
    if (sharing === undefined) return undefined
    for (const socket of sharing) if (socket.local.ip === to.ip || socket.local.scope === 'unspecified') return socket
    return undefined
  }

  /** Those bound to one of the given IPs. */
  on(ips: ReadonlySet<string>): LabSocket[] {
    return [...this.#byPort.values()].flat().filter((socket) => ips.has(socket.local.ip))
  }
}

function portKey(address: Address): number {
  return address.family * 0x1_0000 + address.port
}
