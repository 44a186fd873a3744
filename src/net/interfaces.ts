/** The machine's interfaces, gateways and names, as everything in the library sees them. */
import type { Address, Family } from './address.ts'

export interface InterfaceAddress {
  /** Name of the interface: `eth0`, `Wi-Fi`. */
  readonly name: string
  /** Port 0; zone set where link-local. */
  readonly address: Address
  readonly prefixLength: number
  /** Loopback interface. */
  readonly internal: boolean
  /** RFC 8981 temporary address. False where the system does not tell. */
  readonly temporary: boolean
  /** Past its preferred lifetime (RFC 4862 5.5.4): not for new sessions. False where the system does not tell. */
  readonly deprecated: boolean
}

export interface Interfaces {
  /** What stands now: addresses that can be bound. */
  list(): readonly InterfaceAddress[]
  /** Calls back after every change of the list. Returns how to stop. */
  watch(changed: () => void): () => void
}

export interface DefaultRoute {
  readonly family: Family
  /** Name of the interface it leaves by. */
  readonly name: string
  /** The router, port 0; undefined on a point-to-point link. */
  readonly gateway: Address | undefined
}

export interface Gateway {
  /** The default routes, best first; empty when there is none or the system does not tell. Never rejects. */
  defaultRoutes(): Promise<readonly DefaultRoute[]>
}

export interface Dns {
  /**
   * Addresses of a name, as IP literals, the system's order kept. Rejects with SallyportError `ERR_DNS`, or with the signal's reason.
   */
  lookup(name: string, options?: { readonly family?: Family; readonly signal?: AbortSignal }): Promise<readonly string[]>
  /**
   * An address of a name under `.local`, as an IP literal, asked for by multicast on the links that the addresses `from` are on (RFC 6762),
   * again and again until somebody answers or the signal ends it: silence is no answer. Rejects with SallyportError `ERR_DNS` when the name
   * is no such name or nobody can be asked, or with the signal's reason.
   */
  lookupLocal(name: string, options: { readonly from: readonly Address[]; readonly signal: AbortSignal }): Promise<string>
}
