import { expect, it } from 'vitest'
import { SharedLedger } from '../../../../src/cli/serve/workers/shared-ledger.ts'

it('a user has so many allocations, whichever workers they are on', () => {
  const ledger = new SharedLedger(10, 2)
  expect([ledger.take(0, 'alice'), ledger.take(1, 'alice'), ledger.take(2, 'alice')]).toEqual(['granted', 'granted', 'user-quota'])
  expect(ledger.take(2, 'bob')).toBe('granted')
  ledger.release(0, 'alice')
  expect(ledger.take(2, 'alice')).toBe('granted')
})

it('there are so many allocations in all', () => {
  const ledger = new SharedLedger(2, 2)
  expect([ledger.take(0, 'a'), ledger.take(1, 'b'), ledger.take(0, 'c')]).toEqual(['granted', 'granted', 'capacity'])
  ledger.release(1, 'b')
  expect(ledger.take(1, 'c')).toBe('granted')
})

it('what a worker had is given back when it dies, and what others have is not', () => {
  const ledger = new SharedLedger(10, 3)
  for (const worker of [0, 0, 1]) ledger.take(worker, 'alice')
  ledger.take(0, 'bob')
  expect([ledger.users, ledger.taken]).toEqual([2, 4])
  ledger.forget(0)
  expect([ledger.users, ledger.taken]).toEqual([1, 1])
  // Its last words may come late.
  ledger.release(0, 'alice')
  expect(ledger.taken).toBe(1)
})

it('a release without an allocation changes nothing', () => {
  const ledger = new SharedLedger(10, 3)
  ledger.take(0, 'alice')
  ledger.release(1, 'alice')
  ledger.release(0, 'bob')
  expect([ledger.users, ledger.taken]).toEqual([1, 1])
})
