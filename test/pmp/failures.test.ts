import { expect, it } from 'vitest'
import { type ErrorCode, SallyportError } from '../../src/errors.ts'
import { asMappingError, mostTelling } from '../../src/pmp/failures.ts'
import { MAPPING_PROTOCOLS } from '../../src/pmp/protocol.ts'

function all(...codes: ErrorCode[]): ReturnType<typeof mostTelling> {
  return mostTelling(new Map(MAPPING_PROTOCOLS.map((protocol, i) => [protocol, new SallyportError(codes[i]!, `${protocol} says`)])))
}

it.each<[ErrorCode, ErrorCode[]]>([
  ['ERR_MAPPING_REFUSED', ['ERR_MAPPING_UNAVAILABLE', 'ERR_MAPPING_REFUSED', 'ERR_MAPPING_UNAVAILABLE']],
  ['ERR_MAPPING_UNPROVEN', ['ERR_MAPPING_REFUSED', 'ERR_MAPPING_CAPACITY', 'ERR_MAPPING_UNPROVEN']],
  ['ERR_MAPPING_PORT', ['ERR_MAPPING_ANSWER', 'ERR_MAPPING_CAPACITY', 'ERR_MAPPING_PORT']],
  ['ERR_MAPPING_CAPACITY', ['ERR_MAPPING_ANSWER', 'ERR_MAPPING_CAPACITY', 'ERR_CLOSED']],
  ['ERR_MAPPING_UNAVAILABLE', ['ERR_CLOSED', 'ERR_BIND', 'ERR_MAPPING_UNAVAILABLE']],
])('%s says more than the rest', (most, codes) => {
  expect(all(...codes).code).toBe(most)
})

it('of equals the first counts', () => {
  expect(all('ERR_MAPPING_REFUSED', 'ERR_MAPPING_REFUSED', 'ERR_MAPPING_REFUSED').message).toBe('pcp says')
})

it('where nobody answers it says of each protocol that it was tried, in the order of preference', () => {
  const silent = (text: string): SallyportError => new SallyportError('ERR_MAPPING_UNAVAILABLE', text)
  const error = mostTelling(new Map([['upnp', silent('no UPnP')] as const, ['pcp', silent('no PCP')] as const]))
  expect(error.message).toBe('no PCP; no UPnP')
  expect(error.report).toMatchObject([{ protocol: 'pcp' }, { protocol: 'upnp' }])
})

it('the report has what each protocol came to, and is JSON', () => {
  const { report, cause } = all('ERR_MAPPING_UNAVAILABLE', 'ERR_MAPPING_REFUSED', 'ERR_MAPPING_ANSWER')
  expect(JSON.parse(JSON.stringify(report))).toEqual([
    { protocol: 'pcp', code: 'ERR_MAPPING_UNAVAILABLE', message: 'pcp says' },
    { protocol: 'nat-pmp', code: 'ERR_MAPPING_REFUSED', message: 'nat-pmp says' },
    { protocol: 'upnp', code: 'ERR_MAPPING_ANSWER', message: 'upnp says' },
  ])
  expect((cause as SallyportError).message).toBe('nat-pmp says')
})

it('nobody to ask is a failure, too', () => {
  expect(mostTelling(new Map())).toMatchObject({ code: 'ERR_MAPPING_UNAVAILABLE', message: 'there is no router to ask' })
})

it.each([[new RangeError('odd')], ['odd']])('what is no error of ours becomes one: %s', (thrown) => {
  expect(asMappingError(thrown)).toMatchObject({
    code: 'ERR_MAPPING_ANSWER',
    message: "a router's answer could not be used: odd",
    cause: thrown,
  })
})
