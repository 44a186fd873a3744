/** The machine's addresses. No system tells Node.js of changes without native code, so a watcher polls. */
import { readFileSync } from 'node:fs'
import { type NetworkInterfaceInfo, networkInterfaces } from 'node:os'
import { Address } from '../address.ts'
import type { InterfaceAddress, Interfaces } from '../interfaces.ts'
import { type Inet6State, parseIfInet6 } from './if-inet6.ts'

/** Milliseconds between two looks while somebody watches. */
const POLL_INTERVAL = 2000

export function nodeInterfaces(read: () => readonly InterfaceAddress[] = readInterfaces, interval: number = POLL_INTERVAL): Interfaces {
  return new NodeInterfaces(read, interval)
}

class NodeInterfaces implements Interfaces {
  readonly #read: () => readonly InterfaceAddress[]
  readonly #interval: number
  readonly #watchers = new Set<{ readonly changed: () => void }>()
  #timer: NodeJS.Timeout | undefined
  #seen = ''

  constructor(read: () => readonly InterfaceAddress[], interval: number) {
    this.#read = read
    this.#interval = interval
  }

  list(): readonly InterfaceAddress[] {
    return this.#read()
  }

  watch(changed: () => void): () => void {
    // An object of its own, so that one function may watch twice.
    const watcher = { changed }
    this.#watchers.add(watcher)
    if (this.#timer === undefined) {
      this.#seen = fingerprint(this.#read())
      this.#timer = setInterval(() => this.#look(), this.#interval)
      this.#timer.unref()
    }
    return () => {
      this.#watchers.delete(watcher)
      if (this.#watchers.size > 0) return
      clearInterval(this.#timer)
      this.#timer = undefined
    }
  }

  #look(): void {
    const seen = fingerprint(this.#read())
    if (seen === this.#seen) return
    this.#seen = seen
    for (const { changed } of [...this.#watchers]) changed()
  }
}

function fingerprint(list: readonly InterfaceAddress[]): string {
  // Sorted: the system may list the same addresses in another order.
  return list
    .map((entry) => JSON.stringify(entry))
    .sort()
    .join('\n')
}

function readInterfaces(): readonly InterfaceAddress[] {
  let found: NodeJS.Dict<NetworkInterfaceInfo[]>
  try {
    found = networkInterfaces()
  } catch {
    return [] // Android does not let an application see them
  }
  return interfaceAddresses(found, process.platform === 'linux' ? readInet6States() : new Map(), process.platform === 'win32')
}

function readInet6States(): ReadonlyMap<string, Inet6State> {
  try {
    return parseIfInet6(readFileSync('/proc/net/if_inet6', 'latin1'))
  } catch {
    return new Map() // no IPv6 in this kernel
  }
}

/** What the system lists in our words. `numericZones`: Windows names a zone by the number of its interface. */
export function interfaceAddresses(
  found: NodeJS.Dict<NetworkInterfaceInfo[]>,
  states: ReadonlyMap<string, Inet6State>,
  numericZones: boolean,
): readonly InterfaceAddress[] {
  const list: InterfaceAddress[] = []
  for (const [name, infos = []] of Object.entries(found)) {
    for (const info of infos) {
      const zone = info.family === 'IPv6' && info.scopeid > 0 ? `%${numericZones ? info.scopeid : name}` : ''
      const address = Address.tryOf(info.address + zone, 0)
      if (address === undefined) continue
      const state = states.get(`${address.ip} ${name}`)
      if (state?.tentative) continue
      list.push({
        name,
        address,
        prefixLength: Number(info.cidr?.split('/')[1] ?? (address.family === 4 ? 32 : 128)),
        internal: info.internal,
        temporary: state?.temporary ?? false,
        deprecated: state?.deprecated ?? false,
      })
    }
  }
  return list
}
