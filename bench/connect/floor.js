// How soon two peers can have data both ways by strict ICE from a cold start: the common floor, and the bound for one cell.

/** The common floor: STUN, the signal, a check and its answer, data and its answer. Milliseconds; delays are one way. */
export function designFloor({ delay, signalling }) {
  return 2 * delay + signalling + 2 * delay + 2 * delay
}

/**
 * What no ICE agent can beat on the path that a cell found first: a side checks an address once it was told of it (a host's at once, a
 * reflexive one after STUN) or once the peer's check came from it (peer-reflexive), and sends data once its own check is answered.
 * `first`: one side's data is answered; `last`: both sides' is. Filters may ask for more.
 */
export function cellFloor([a, b], { delay, signalling }) {
  const way = Math.min(a.firstPath.rtt, b.firstPath.rtt) / 2
  const told = ({ firstPath }) => {
    const { type } = firstPath.remote
    return type === 'host' ? signalling : type === 'srflx' ? 2 * delay + signalling : Number.POSITIVE_INFINITY
  }
  const known = [a, b].map(told)
  const checked = [Math.min(known[0], known[1] + way), Math.min(known[1], known[0] + way)]
  const answered = checked.map((at) => at + 2 * way + 2 * way)
  return { first: Math.min(...answered), last: Math.max(...answered) }
}

/** The first and the last side's answer, as measured. */
export function answersOf([a, b]) {
  const times = [a.answeredAt, b.answeredAt]
  return { first: Math.min(...times), last: Math.max(...times) }
}

export function median(values) {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
}

/** How much more than the floor a median may be. */
export const LIMIT = 1.1

/**
 * Runs a cell with several seeds; undefined where the first one has no direct path. `meet` gives the sides of one meeting by its seed.
 *
 * Data has gone both ways when one side's data is answered, and that is held against the common floor. The other side's data is held
 * against the same floor, or against the cell's own where that is later: toward a peer that can only be learnt from its check
 * (peer-reflexive), the learner's own check starts a way late by nature.
 */
export async function measure(meet, seeds, delays) {
  const runs = []
  const floors = []
  for (let seed = 1; seed <= seeds; seed++) {
    const sides = await meet(seed)
    if (sides.some(({ answeredAt }) => answeredAt === undefined)) {
      // Who meets does not hang on the seed: after one that did, a miss is a time without end.
      if (seed === 1) return undefined
      runs.push({ first: Number.POSITIVE_INFINITY, last: Number.POSITIVE_INFINITY })
      continue
    }
    runs.push(answersOf(sides))
    floors.push(cellFloor(sides, delays))
  }
  const design = designFloor(delays)
  const first = median(runs.map((run) => run.first))
  const last = median(runs.map((run) => run.last))
  const floor = { first: median(floors.map((one) => one.first)), last: median(floors.map((one) => one.last)) }
  return { first, last, floor, design, firstRatio: first / design, lastRatio: last / Math.max(design, floor.last) }
}
