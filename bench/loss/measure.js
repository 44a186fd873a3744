// Two peers meet through accesses that lose packets, many times over: what came of it, how long it took, and what it cost.
import { meetIn } from '../connect/meet.js'
import { hostBehind, KINDS } from '../connect/topologies.js'

/** Milliseconds after which a question without an answer is asked again. */
const AGAIN = 20
/** How long one meeting is given, and how long its packets are counted after it has come about. Virtual milliseconds. */
const PATIENCE = 40_000
const LINGER = 5_000

const kind = (short) => KINDS.find((one) => one.short === short)

/** The same kind on both sides; `build` takes the loss of each access. */
export const CELLS = ['full', 'port'].map((short) => {
  const { name, routers } = kind(short)
  const lossy = (loss) => routers.map((router, index) => (index === routers.length - 1 ? { ...router, link: { loss } } : router))
  return {
    name: `${name} × ${name}`,
    build: (lab, loss) => [hostBehind(lab, 'a', lossy(loss)), hostBehind(lab, 'b', lossy(loss))],
  }
})

const SHARES = [0, 0.1, 0.2, 0.36]

/**
 * Each way, both readings of a loss: between the peers, over both accesses, or on each access.
 * `heavy`: the worst of each.
 */
export const LOSSES = [
  ...SHARES.map((between) => ({ between, access: 1 - Math.sqrt(1 - between), literal: false, heavy: between === 0.36 })),
  // None is none, and 20 % on each access is the 36 % between them that is there already.
  ...[0.1, 0.36].map((access) => ({ between: 1 - (1 - access) ** 2, access, literal: true, heavy: access === 0.36 })),
]

/** One row: `seeds` meetings in a cell. */
export async function measureLoss(library, cell, { access }, seeds) {
  const runs = []
  for (let seed = 1; seed <= seeds; seed++) runs.push(await meetOnce(library, cell, seed, access))
  const met = runs.filter(({ last }) => last < Number.POSITIVE_INFINITY)
  const checks = runs.flatMap((run) => run.checks)
  return {
    seeds,
    met: met.length,
    direct: met.filter(({ direct }) => direct).length,
    paths: summary(runs.map(({ paths }) => paths)),
    first: summary(runs.map(({ first }) => first)),
    last: summary(runs.map(({ last }) => last)),
    checks: { mean: mean(checks), most: Math.max(...checks) },
    requests: { mean: mean(runs.flatMap((run) => run.requests)) },
  }
}

/** One meeting: when both had a path, when the first and the last of them was answered, and what each side sent for it. */
export async function meetOnce(library, { name, build }, seed, loss) {
  const sent = { a: { checks: 0, requests: 0 }, b: { checks: 0, requests: 0 } }
  const inspect = (_hosts, _servers, lab) => {
    lab.filter(({ host, protocol, to, data }) => {
      const counts = sent[host]
      if (counts !== undefined && protocol === 'udp' && isBindingRequest(data)) counts[to.port === 3478 ? 'requests' : 'checks']++
      return 'pass'
    })
  }
  const { sides, explanations } = await meetIn(
    library,
    { name, build: (lab) => build(lab, loss) },
    { seed, patience: PATIENCE, again: AGAIN, linger: LINGER, inspect },
  )
  const times = (key) => sides.map((side) => side[key] ?? Number.POSITIVE_INFINITY)
  return {
    paths: Math.max(...times('readyAt')),
    first: Math.min(...times('answeredAt')),
    last: Math.max(...times('answeredAt')),
    direct: sides.every(({ firstPath, path }) => firstPath?.kind === 'direct' && path?.kind === 'direct'),
    checks: [sent.a.checks, sent.b.checks],
    requests: [sent.a.requests, sent.b.requests],
    explanations,
  }
}

/**
 * What a row has to keep: the share of meetings that come about, all of them direct; the time until data has gone both ways, which is until
 * the first answer as in bench/connect, and until both answers except where only one question in six is answered at all; and the price.
 */
export function limitsOf({ literal, heavy }) {
  const extreme = literal && heavy
  return { share: heavy ? 0.999 : 1, until: extreme ? 'first' : 'last', median: 400, p99: 2_000, checks: extreme ? 21 : 15 }
}

/** Which limits a row misses, in words. */
export function misses(row, limits) {
  const { seeds, met, direct, checks } = row
  const { median, p99 } = row[limits.until]
  const missed = []
  if (met < limits.share * seeds) missed.push(`${seeds - met} of ${seeds} did not meet`)
  if (direct < met) missed.push(`${met - direct} not direct`)
  if (median > limits.median) missed.push(`median over ${limits.median}`)
  if (p99 > limits.p99) missed.push(`p99 over ${limits.p99}`)
  if (checks.mean > limits.checks) missed.push(`over ${limits.checks} checks`)
  return missed
}

/** Of times: the middle one, the one that 99 in 100 do not exceed, and the longest. */
export function summary(times) {
  const sorted = [...times].sort((a, b) => a - b)
  const at = (share) => sorted[Math.min(sorted.length - 1, Math.ceil(share * sorted.length) - 1)]
  return { median: at(0.5), p99: at(0.99), worst: sorted.at(-1) }
}

function isBindingRequest(data) {
  return data.length >= 20 && data[0] === 0 && data[1] === 1
}

function mean(values) {
  return values.reduce((sum, value) => sum + value, 0) / values.length
}
