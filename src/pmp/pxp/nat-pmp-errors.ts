/** What NAT-PMP's result codes (RFC 6886 3.5) mean to us. */
import { type ErrorCode, SallyportError } from '../../errors.ts'
import type { Uplink } from '../protocol.ts'
import type { NatPmpAnswer, NatPmpResult } from './nat-pmp-message.ts'

type Refusal = Exclude<NatPmpResult, 'SUCCESS' | undefined>

const MEANINGS: Readonly<Record<Refusal, readonly [ErrorCode, string]>> = {
  UNSUPPORTED_VERSION: ['ERR_MAPPING_UNAVAILABLE', 'does not speak NAT-PMP'],
  NOT_AUTHORIZED: ['ERR_MAPPING_REFUSED', 'has port mapping switched off, or not for this host or port'],
  NETWORK_FAILURE: ['ERR_MAPPING_CAPACITY', 'has no connection to the internet, or no public address there'],
  OUT_OF_RESOURCES: ['ERR_MAPPING_CAPACITY', 'has no room for another mapping'],
  UNSUPPORTED_OPCODE: ['ERR_MAPPING_UNAVAILABLE', 'does not know this NAT-PMP request'],
}

/** `report` has the result by number and name. */
export function natPmpError({ code, result }: Pick<NatPmpAnswer, 'code' | 'result'>, { router }: Uplink): SallyportError {
  const report = { protocol: 'nat-pmp', code, result: result ?? null }
  if (result === undefined || result === 'SUCCESS') {
    return new SallyportError('ERR_MAPPING_REFUSED', `${router.host} refuses with the unknown NAT-PMP result ${code}`, { report })
  }
  const [error, words] = MEANINGS[result]
  return new SallyportError(error, `${router.host} ${words} (${result})`, { report })
}
