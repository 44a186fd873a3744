import { expect, it } from 'vitest'
import { limited } from '../../../src/cli/serve/limited.ts'
import type { ServeEvent } from '../../../src/cli/serve/service.ts'
import type { RelayEvent } from '../../../src/relay/index.ts'

const refusal: RelayEvent = {
  event: 'refused',
  user: 'alice',
  method: 'CreatePermission',
  code: 403,
  reason: 'Forbidden',
  client: '192.0.2.1:5000',
  transport: 'udp',
}
const failure: RelayEvent = { event: 'authentication-failed', user: 'x', reason: 'wrong', client: '192.0.2.1:5000', transport: 'udp' }
const created: RelayEvent = {
  event: 'allocation-created',
  id: 1,
  user: 'alice',
  relayed: ['192.0.2.9:49152'],
  lifetime: 600_000,
  client: '192.0.2.1:5000',
  transport: 'udp',
}

function setup(): { log: (event: RelayEvent) => void; told: ServeEvent[]; pass: (milliseconds: number) => void } {
  const told: ServeEvent[] = []
  let now = 0
  const log = limited(
    (event) => told.push(event),
    () => now,
  )
  return {
    log,
    told,
    pass: (milliseconds) => {
      now += milliseconds
    },
  }
}

it('a flood of refusals is told of a hundred times, then twenty times a second', () => {
  const { log, told, pass } = setup()
  for (let i = 0; i < 1_000; i++) log(refusal)
  expect(told).toHaveLength(100)
  for (let second = 0; second < 5; second++) {
    pass(1_000)
    told.length = 0
    for (let i = 0; i < 1_000; i++) log(refusal)
    expect(told.filter(({ event }) => event === 'refused')).toHaveLength(20)
  }
})

it('the next refusal that is told of says how many were not', () => {
  const { log, told, pass } = setup()
  for (let i = 0; i < 130; i++) log(refusal)
  pass(50)
  log(refusal)
  expect(told.slice(-2)).toEqual([{ event: 'suppressed', of: 'refused', count: 30 }, refusal])
})

it('failures to authenticate do not use up what there is for refusals', () => {
  const { log, told } = setup()
  for (let i = 0; i < 1_000; i++) log(failure)
  log(refusal)
  expect(told.at(-1)).toBe(refusal)
})

it('every allocation is told of', () => {
  const { log, told } = setup()
  for (let i = 0; i < 1_000; i++) log(created)
  expect(told).toHaveLength(1_000)
})
