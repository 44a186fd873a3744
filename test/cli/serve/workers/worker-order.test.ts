import fc from 'fast-check'
import { expect, it } from 'vitest'
import { WorkerOrder } from '../../../../src/cli/serve/workers/worker-order.ts'

function orderOf(...workers: readonly number[]): WorkerOrder {
  const order = new WorkerOrder()
  for (const worker of workers) order.join(worker)
  return order
}

it('the last one takes the place of one that goes, as in the kernel', () => {
  const order = orderOf(0, 1, 2, 3)
  order.leave(1)
  expect(order.places).toEqual([0, 3, 2])
  order.leave(2)
  expect(order.places).toEqual([0, 3])
})

it('nobody moves while all are in their places', () => {
  expect(orderOf(0, 1, 2).next()).toBeUndefined()
  expect(orderOf().next()).toBeUndefined()
})

it('after the death and return of one of three, one other moves', () => {
  const order = orderOf(0, 1, 2)
  order.leave(0)
  order.join(0)
  expect(order.places).toEqual([2, 1, 0])
  expect(order.next()).toBe(2)
  order.leave(2)
  order.join(2)
  expect(order.places).toEqual([0, 1, 2])
})

it('any order ends with all in their places, after at most three moves for every two workers', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 40 }).chain((count) => {
        const all = Array.from({ length: count }, (_, worker) => worker)
        return fc.shuffledSubarray(all, { minLength: count })
      }),
      (workers) => {
        const order = orderOf(...workers)
        let moves = 0
        for (let next = order.next(); next !== undefined; next = order.next()) {
          order.leave(next)
          order.join(next)
          expect(++moves).toBeLessThanOrEqual(1.5 * workers.length)
        }
        expect(order.places).toEqual([...workers].sort((a, b) => a - b))
      },
    ),
  )
})
