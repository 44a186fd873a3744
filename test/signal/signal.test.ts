import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type ReadSignal, readSignal, type Signal, tieText } from '../../src/signal/index.ts'

const line = 'candidate:1 1 udp 2130706431 192.0.2.1 5000 typ host'
const valid: Signal = {
  v: 1,
  id: '0123456789abcdef',
  to: 'fedcba9876543210',
  seq: 3,
  ack: 2,
  ask: true,
  ufrag: 'abcdefgh',
  pwd: 'p'.repeat(24),
  for: 'hgfedcba',
  tie: '00112233445566ff',
  candidates: [line],
  end: true,
}

function read(change: Record<string, unknown>): ReadSignal | string {
  return readSignal({ ...valid, ...change })
}

describe('a signal from the channel', () => {
  it('is read with its candidates and its tie-breaker', () => {
    expect(readSignal(JSON.parse(JSON.stringify(valid)))).toMatchObject({
      tieBreaker: 0x112233445566ffn,
      candidates: [{ type: 'host', priority: 2130706431, foundation: '1' }],
      refused: [],
    })
  })

  it('C19 is read with its names beside its candidates', () => {
    const named = line.replace(/ \d+\.\d+\.\d+\.\d+ /, ' 1f4712db.local ')
    expect(readSignal({ ...valid, candidates: [named, line] })).toMatchObject({
      candidates: [{}],
      named: [{ name: '1f4712db.local' }],
      refused: [],
    })
  })

  it('needs no more than version, credentials and a list of candidates: so another agent’s description fits', () => {
    const { v, ufrag, pwd, candidates } = valid
    expect(readSignal({ v, ufrag, pwd, candidates })).toMatchObject({ tieBreaker: undefined })
  })

  it('keeps what it does not know to itself: a later version of the sender may say more', () => {
    expect(read({ mood: 'good' })).toMatchObject({ refused: [] })
  })

  it.each([undefined, null, 1, 'text', true, Symbol('s'), 1n, () => {}])('is refused as %s', (value) => {
    expect(readSignal(value)).toBe('it is not an object')
  })

  it.each<[string, Record<string, unknown>, RegExp]>([
    ['another version', { v: 2 }, /^version 2 is not spoken here/],
    ['a version as text', { v: '1' }, /version 1 /],
    ['a version that has no text', { v: { toString: null, valueOf: null } }, /version object/],
    ['a version that is a list', { v: [1] }, /version/],
    ['no version', { v: undefined }, /version undefined/],
    ['C01 a ufrag of three characters', { ufrag: 'abc' }, /ufrag or pwd/],
    ['C01 a ufrag of 257 characters', { ufrag: 'a'.repeat(257) }, /ufrag or pwd/],
    ['C01 a ufrag with a colon', { ufrag: 'ab:cd' }, /ufrag or pwd/],
    ['C01 a ufrag with a line break', { ufrag: 'abcd\n' }, /ufrag or pwd/],
    ['C01 a password of 21 characters', { pwd: 'p'.repeat(21) }, /ufrag or pwd/],
    ['C01 a password of 257 characters', { pwd: 'p'.repeat(257) }, /ufrag or pwd/],
    ['a password that is no text', { pwd: { length: 30 } }, /ufrag or pwd/],
    ['no candidates', { candidates: undefined }, /candidates is not a list/],
    ['candidates as an object', { candidates: { length: 1, 0: line } }, /candidates is not a list/],
    ['10,000 candidates', { candidates: Array.from({ length: 10_000 }, () => line) }, /at most 128/],
    ['an empty id', { id: '' }, /id, to or for/],
    ['an id of 257 characters', { id: 'a'.repeat(257) }, /id, to or for/],
    ['an id that is a number', { id: 7 }, /id, to or for/],
    ['`for` that is null', { for: null }, /id, to or for/],
    ['`to` that is a list', { to: ['a'] }, /id, to or for/],
    ['an id without a seq', { seq: undefined }, /seq is missing/],
    ['a negative seq', { seq: -1 }, /seq or ack/],
    ['a seq with a fraction', { seq: 1.5 }, /seq or ack/],
    ['a seq beyond what counts exactly', { seq: 2 ** 53 }, /seq or ack/],
    ['a seq as text', { seq: '1' }, /seq or ack/],
    ['an ack that is NaN', { ack: Number.NaN }, /seq or ack/],
    ['a tie-breaker of 15 digits', { tie: '0'.repeat(15) }, /tie/],
    ['a tie-breaker in capitals', { tie: 'ABCDEF0123456789' }, /tie/],
    ['a tie-breaker that is a number', { tie: 5 }, /tie/],
    ['`end` as text', { end: 'yes' }, /end is not true or false/],
    ['`bye` as a number', { bye: 1 }, /bye is not true or false/],
    ['`ask` as null', { ask: null }, /ask is not true or false/],
    ['`controlling` as text', { controlling: 'controlled' }, /controlling is not true or false/],
  ])('is refused with %s', (_what, change, why) => {
    expect(read(change)).toMatch(why)
  })

  it.each<[string, unknown]>([
    ['null', null],
    ['a number', 5],
    ['an object that has no text', { toString: null }],
    ['an empty line', ''],
    ['a line of a megabyte', 'candidate:'.padEnd(1_000_000, '1 ')],
    ['C18 port 0', 'candidate:1 1 udp 1 192.0.2.1 0 typ host'],
    ['C18 priority 0', 'candidate:1 1 udp 0 192.0.2.1 5000 typ host'],
    ['C19 a name of the DNS instead of an address', 'candidate:1 1 udp 1 host.example.net 5000 typ host'],
  ])('stays usable with a candidate that is %s; only that one is refused', (_what, candidate) => {
    const result = read({ candidates: [candidate, line] }) as ReadSignal
    expect(result.candidates).toHaveLength(1)
    expect(result.refused).toHaveLength(1)
    expect(result.refused[0]?.length).toBeLessThan(300)
  })

  it('takes nothing from a prototype that JSON brings along', () => {
    const text = `{"__proto__":{"bye":true,"polluted":1},"constructor":{"prototype":{"polluted":1}},${JSON.stringify(valid).slice(1)}`
    expect(readSignal(JSON.parse(text))).toMatchObject({ refused: [] })
    expect(({} as { polluted?: unknown }).polluted).toBeUndefined()
  })

  it('is an answer or a reason whatever JSON comes, never an exception', () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 3 }), (value) => {
        expect(['string', 'object']).toContain(typeof readSignal(value))
      }),
    )
    fc.assert(
      fc.property(fc.constantFrom(...Object.keys(valid)), fc.anything({ withNullPrototype: true, withBigInt: true }), (key, value) => {
        expect(['string', 'object']).toContain(typeof read({ [key]: value }))
      }),
    )
  })
})

describe('a tie-breaker as text', () => {
  it('has 16 hex digits and reads back', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), (tie) => {
        expect(tieText(tie)).toMatch(/^[0-9a-f]{16}$/)
        expect((read({ tie: tieText(tie) }) as ReadSignal).tieBreaker).toBe(tie)
      }),
    )
  })
})
