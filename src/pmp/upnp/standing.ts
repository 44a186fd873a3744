/** How a service stands: what it says of its connection. Routers list services of connections that are down. */
import type { Address } from '../../net/index.ts'

export interface Standing {
  /** In the router's own words, cleaned; undefined when it does not tell. */
  readonly state: string | undefined
  /** Its external IP, port 0; undefined when it does not tell. */
  readonly external: Address | undefined
  readonly isConnected: boolean
}

/** The lower the better: connected with a public address, with a private one, without, and the rest. */
export function rankOf({ isConnected, external }: Standing): number {
  if (!isConnected) return 3
  return external === undefined ? 2 : external.scope === 'global' ? 0 : 1
}
