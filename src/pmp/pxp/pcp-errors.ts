/** What PCP's result codes (RFC 6887 7.4) mean to us, and the refusals that still stand. */
import { type ErrorCode, SallyportError } from '../../errors.ts'
import type { Uplink } from '../protocol.ts'
import type { PcpAnswer, PcpResult } from './pcp-message.ts'

type Refusal = Exclude<PcpResult, 'SUCCESS' | undefined>

const MEANINGS: Readonly<Record<Refusal, readonly [ErrorCode, string]>> = {
  UNSUPP_VERSION: ['ERR_MAPPING_UNAVAILABLE', 'does not speak PCP version 2'],
  NOT_AUTHORIZED: [
    'ERR_MAPPING_REFUSED',
    'has port mapping switched off, or not for this host or port, or another program has this mapping',
  ],
  MALFORMED_REQUEST: ['ERR_MAPPING_REFUSED', 'cannot read the request'],
  UNSUPP_OPCODE: ['ERR_MAPPING_UNAVAILABLE', 'does not know this PCP request'],
  UNSUPP_OPTION: ['ERR_MAPPING_REFUSED', 'does not know an option of the request: `exact` and `allow` need one'],
  MALFORMED_OPTION: ['ERR_MAPPING_REFUSED', 'cannot read an option of the request'],
  NETWORK_FAILURE: ['ERR_MAPPING_CAPACITY', 'has no connection to the internet, or no address there yet'],
  // The second is what miniupnpd means by it behind another NAT.
  NO_RESOURCES: ['ERR_MAPPING_CAPACITY', 'has no room for another mapping, or no public address itself'],
  UNSUPP_PROTOCOL: ['ERR_MAPPING_REFUSED', 'does not map this transport protocol'],
  USER_EX_QUOTA: ['ERR_MAPPING_CAPACITY', 'gives this host no more mappings'],
  CANNOT_PROVIDE_EXTERNAL: ['ERR_MAPPING_PORT', 'cannot give the external port that was asked for'],
  ADDRESS_MISMATCH: ['ERR_MAPPING_REFUSED', 'sees this host under another address: there is a NAT between here and it'],
  EXCESSIVE_REMOTE_PEERS: ['ERR_MAPPING_CAPACITY', 'does not take so many prefixes in `allow`'],
}

/** RFC 6887 15: no refusal is believed for longer. Milliseconds. */
export const LONGEST_REFUSAL: number = 30 * 60_000

/** `report` has the result by number and name, and for how many milliseconds from the answer on it stands. */
export function pcpError({ code, result }: Pick<PcpAnswer, 'code' | 'result'>, lifetime: number, { router }: Uplink): SallyportError {
  const report = { protocol: 'pcp', code, result: result ?? null, lifetime }
  if (result === undefined || result === 'SUCCESS') {
    return new SallyportError('ERR_MAPPING_REFUSED', `${router.host} refuses with the unknown PCP result ${code}`, { report })
  }
  const [error, words] = MEANINGS[result]
  return new SallyportError(error, `${router.host} ${words} (${result})`, { report })
}

/** About every request rather than the one that was refused. */
const OF_ALL: ReadonlySet<PcpResult> = new Set<PcpResult>(['UNSUPP_VERSION', 'UNSUPP_OPCODE', 'ADDRESS_MISMATCH'])
export const ANY_MAP = 'map'
/** Requests refused at one time that are remembered; the oldest go first. */
const MOST = 256

/** RFC 6887 7.4: what was refused would be refused again until the error's lifetime is over. */
export class Refusals {
  readonly #by = new Map<string, { readonly error: SallyportError; readonly until: number }>()

  /** Without a `request` only what is about all of them is kept. */
  add(request: string | undefined, result: PcpResult, error: SallyportError, until: number): void {
    const key = OF_ALL.has(result) ? ANY_MAP : request
    if (key === undefined) return
    this.#by.delete(key)
    this.#by.set(key, { error, until })
    for (const oldest of this.#by.keys()) {
      if (this.#by.size <= MOST) return
      this.#by.delete(oldest)
    }
  }

  /** The same error as before. */
  of(request: string | undefined, now: number): SallyportError | undefined {
    for (const key of [ANY_MAP, request]) {
      const refusal = key === undefined ? undefined : this.#by.get(key)
      if (key === undefined || refusal === undefined) continue
      if (refusal.until > now) return refusal.error
      this.#by.delete(key)
    }
    return undefined
  }

  clear(): void {
    this.#by.clear()
  }
}
