/** Which of several failures says most to a person who wants a mapping. */
import { type ErrorCode, SallyportError } from '../errors.ts'

/** A router that refuses says more than one that is silent in another protocol. */
const TELLING: readonly ErrorCode[] = [
  'ERR_MAPPING_UNPROVEN',
  'ERR_MAPPING_REFUSED',
  'ERR_MAPPING_PORT',
  'ERR_MAPPING_CAPACITY',
  'ERR_MAPPING_ANSWER',
]

/** One error for all, with every message in its report. */
export function mostTelling(failures: readonly SallyportError[]): SallyportError {
  const rank = ({ code }: SallyportError): number => (TELLING.includes(code) ? TELLING.indexOf(code) : TELLING.length)
  const [first] = failures.toSorted((a, b) => rank(a) - rank(b))
  if (first === undefined) return new SallyportError('ERR_MAPPING_UNAVAILABLE', 'there is no router to ask')
  const report = failures.map(({ code, message }) => ({ code, message }))
  return new SallyportError(first.code, first.message, { cause: first, report })
}
