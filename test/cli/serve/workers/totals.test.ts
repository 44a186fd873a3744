import { expect, it } from 'vitest'
import { addCounters, addStatuses } from '../../../../src/cli/serve/workers/totals.ts'
import type { RelayCounters, RelayStatus } from '../../../../src/relay/index.ts'

function counters(factor: number, errors: Readonly<Record<number, number>>): RelayCounters {
  return {
    allocationsCreated: factor,
    packetsToPeers: 2 * factor,
    bytesToPeers: 3 * factor,
    packetsToClients: 4 * factor,
    bytesToClients: 5 * factor,
    drops: { 'no-permission': factor, 'no-channel': 0, denied: 0, bandwidth: 0, queue: 6 * factor, 'no-allocation': 0 },
    ignored: { malformed: 7 * factor, unexpected: 0, limited: 0, busy: 0 },
    errors,
    successes: 8 * factor,
    authenticationFailures: 9 * factor,
    bindings: 10 * factor,
    connectionsRefused: 11 * factor,
  }
}

function status(factor: number, errors: Readonly<Record<number, number>>, draining = false): RelayStatus {
  return {
    draining,
    allocations: factor,
    allocationsByTransport: { udp: factor, tcp: 0, tls: 2 * factor },
    users: factor,
    permissions: factor,
    channels: factor,
    reservations: factor,
    connections: factor,
    counters: counters(factor, errors),
  }
}

it('counters are added member by member, with the codes that only one of them has', () => {
  expect(addCounters(counters(1, { 401: 2, 403: 1 }), counters(10, { 401: 5, 486: 1 }))).toEqual(counters(11, { 401: 7, 403: 1, 486: 1 }))
  expect(addCounters(undefined, counters(1, { 401: 2 }))).toEqual(counters(1, { 401: 2 }))
})

it('statuses are added, but users are those of all together, and counters include processes that are no more', () => {
  const total = addStatuses([status(1, { 401: 1 }), status(10, { 403: 1 }, true)], counters(100, { 401: 1 }), 3)
  expect(total).toEqual({ ...status(11, {}, true), users: 3, counters: counters(111, { 401: 2, 403: 1 }) })
})

it('adding changes none of them', () => {
  const [a, b] = [status(1, { 401: 1 }), status(2, { 401: 2 })]
  addStatuses([a, b], counters(3, {}), 1)
  expect([a, b]).toEqual([status(1, { 401: 1 }), status(2, { 401: 2 })])
})

it('of nobody there is no status', () => {
  expect(addStatuses([], undefined, 0)).toBeUndefined()
})
