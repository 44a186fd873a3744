/** Which of several failures says most to a person who wants a mapping. */
import { type ErrorCode, SallyportError } from '../errors.ts'
import { MAPPING_PROTOCOLS, type MappingProtocol } from './protocol.ts'

/** A router that refuses says more than one that is silent in another protocol, and that more than what we could not do ourselves. */
const TELLING: readonly ErrorCode[] = [
  'ERR_MAPPING_UNPROVEN',
  'ERR_MAPPING_REFUSED',
  'ERR_MAPPING_PORT',
  'ERR_MAPPING_CAPACITY',
  'ERR_MAPPING_ANSWER',
  'ERR_MAPPING_UNAVAILABLE',
]

/** One error for all; its `report` has what each protocol came to. */
export function mostTelling(failures: ReadonlyMap<MappingProtocol, SallyportError>): SallyportError {
  const rank = ({ code }: SallyportError): number => (TELLING.includes(code) ? TELLING.indexOf(code) : TELLING.length)
  // In the order of preference, whichever failed first.
  const all = MAPPING_PROTOCOLS.flatMap((protocol) => {
    const error = failures.get(protocol)
    return error === undefined ? [] : [{ protocol, error }]
  })
  const [first] = all.map(({ error }) => error).sort((a, b) => rank(a) - rank(b))
  if (first === undefined) return new SallyportError('ERR_MAPPING_UNAVAILABLE', 'there is no router to ask')
  const report = all.map(({ protocol, error: { code, message } }) => ({ protocol, code, message }))
  // Where nobody answers no protocol says more than another: one alone would read as if it were the only one that was tried.
  const message = first.code === 'ERR_MAPPING_UNAVAILABLE' ? report.map((one) => one.message).join('; ') : first.message
  return new SallyportError(first.code, message, { cause: first, report })
}

export function asMappingError(error: unknown): SallyportError {
  if (error instanceof SallyportError) return error
  const why = error instanceof Error ? error.message : String(error)
  return new SallyportError('ERR_MAPPING_ANSWER', `a router's answer could not be used: ${why}`, { cause: error })
}
