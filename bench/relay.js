// @ts-check
/**
 * The relay over UDP beside coturn with one thread and a bare forwarder on node:dgram, which is as fast as a relay in Node.js can be: tuned
 * look-up, the same socket buffers, no TURN at all. Same generator (`relay/load.c`, compiled here with `cc`), one run, in turns:
 * `npm run build && node bench/relay.js [throughput] [workers] [latency] [allocations] [--rounds 15] [--seconds 0.4] [--allocations 4000]`
 *
 * - throughput: packets a second through one allocation and one channel, up (client to peer) and down, 32 on their way at a time, all of
 *   which have to arrive; and the server's processor time for a packet, in which a machine that others use too makes less of a difference.
 *   Generator and server have a core each. `net` is the forwarder through our own sockets: what is lost before there is a relay.
 * - workers: two processes of ours beside one, with the generator on the same two cores; on one port where Node.js can share it, else on two.
 * - latency: at a fixed rate, and beside it an exchange with nothing in between.
 * - allocations: 401 and Allocate, 32 at once; processor time, and resident memory kept for an idle one: cold, from the start of the
 *   process, in which the heap grows to its size, and warm, for as many again. The goal is for both together.
 *
 * A ratio is the median over the rounds of what was measured within one round. coturn is left out where it is not installed.
 * Exit code 1 when a goal is missed.
 */
import { spawnSync } from 'node:child_process'
import { availableParallelism } from 'node:os'
import { parseArgs } from 'node:util'
import { canReusePort } from '../dist/net/node/index.js'
import { allocateMany } from './relay/allocations.js'
import { startCoturn, startDirect, startForwarder, startOurs } from './relay/contestants.js'
import { Generator } from './relay/generator.js'

/**
 * @typedef {import('./relay/contestants.js').Contestant} Contestant
 * @typedef {import('./relay/generator.js').Result} Result
 * @typedef {{ name: string, about: string, start(core?: number): Promise<Contestant>, least?: number }} Entry `least`: ours to it
 */

const PARTS = ['throughput', 'workers', 'latency', 'allocations']
const SIZES = [100, 1_200]
const DIRECTIONS = /** @type {const} */ (['up', 'down'])
const RATES = [1_000, 20_000]
const WORKER_FLOWS = 16
const WORKER_WINDOW = 32
const LEAST_WORKERS = 1.4
const MOST_BYTES = 8_192

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    rounds: { type: 'string', default: '15' },
    seconds: { type: 'string', default: '0.4' },
    allocations: { type: 'string', default: '4000' },
  },
})
const rounds = Number(values.rounds)
const seconds = Number(values.seconds)
const allocations = Number(values.allocations)
/** As many rounds before the first one that counts, and that many processes for allocations. */
const few = Math.min(rounds, 3)
if (!(rounds >= 1 && seconds > 0 && allocations >= 1)) throw new RangeError('rounds, seconds and allocations have to be positive numbers')
const unknown = positionals.find((part) => !PARTS.includes(part))
if (unknown !== undefined) throw new TypeError(`${unknown}: not one of ${PARTS.join(', ')}`)
const asked = new Set(positionals.length === 0 ? PARTS : positionals)

const apart = availableParallelism() >= 2 && spawnSync('taskset', ['--version']).error === undefined
const [generatorCore, serverCore] = apart ? [0, 1] : []
const withCoturn = spawnSync('turnserver', ['--version']).error === undefined

/** @type {Entry} */
const OURS = { name: 'sallyport', about: 'the relay, one process', start: (core) => startOurs(core) }
/** @type {Entry} */
const COTURN = { name: 'coturn', about: 'one relay thread', start: startCoturn, least: 0.48 }
/** @type {Entry} */
const BARE = { name: 'forwarder', about: 'node:dgram, no TURN', start: (core) => startForwarder(core, 'bare'), least: 0.9 }
/** @type {Entry} */
const NET = { name: 'net', about: 'the forwarder on our sockets', start: (core) => startForwarder(core, 'net') }
/** @type {Entry} */
const DIRECT = { name: 'direct', about: 'nothing in between', start: startDirect }

/** @param {readonly number[]} numbers */
const median = (numbers) => [...numbers].sort((a, b) => a - b)[numbers.length >> 1] ?? Number.NaN

/** @param {string} name @param {readonly (string | number)[]} cells @param {string} [about] */
const row = (name, cells, about = '') =>
  console.log(`${name.padEnd(20)}${cells.map((cell) => String(cell).padStart(12)).join('')}${about === '' ? '' : `  ${about}`}`)

/** @param {number} number */
const whole = (number) => Math.round(number).toLocaleString('en')

/** @param {string} what */
function miss(what) {
  console.error(`${''.padEnd(20)}${what}`)
  process.exitCode = 1
}

/** In turns; nobody always follows the same one. @template T @param {number} count @param {(i: number) => Promise<T>} measure */
async function inTurns(count, measure) {
  const results = Array.from({ length: count }, () => /** @type {T[]} */ ([]))
  for (let r = -few; r < rounds; r++) {
    for (let k = 0; k < count; k++) {
      const i = (k + r + few) % count
      const result = await measure(i)
      if (r >= 0) results[i]?.push(result)
    }
  }
  return results
}

/** @param {readonly Entry[]} entries @param {(contestants: readonly Contestant[]) => Promise<void>} use */
async function among(entries, use) {
  const contestants = await Promise.all(entries.map(({ start }) => start(serverCore)))
  try {
    await use(contestants)
  } finally {
    await Promise.all(contestants.map((contestant) => contestant.stop()))
  }
}

/** @param {Generator} generator */
async function throughput(generator) {
  const entries = [OURS, ...(withCoturn ? [COTURN] : []), BARE, NET]
  await among(entries, async (contestants) => {
    for (const payload of SIZES) {
      for (const direction of DIRECTIONS) {
        const results = await inTurns(contestants.length, (i) =>
          generator.run(/** @type {Contestant} */ (contestants[i]), 1, { direction, payload, seconds, core: generatorCore }),
        )
        console.log('')
        row(`${direction}, ${payload} bytes`, ['packets/s', 'ours to it', 'CPU µs', 'ours to it', 'lost'])
        const ours = results[0] ?? []
        for (const [i, { name, about, least = 0 }] of entries.entries()) {
          const theirs = results[i] ?? []
          const ratio = median(ours.map(({ rate }, r) => rate / (theirs[r]?.rate ?? Number.NaN)))
          // Packets for a second of processor time, so that more is better in both.
          const cpuRatio = median(ours.map(({ cpu }, r) => (theirs[r]?.cpu ?? Number.NaN) / cpu))
          const lost = theirs.reduce((sum, result) => sum + result.lost, 0)
          const ratios = i === 0 ? ['', ''] : [ratio.toFixed(3), cpuRatio.toFixed(3)]
          const rate = whole(median(theirs.map((result) => result.rate)))
          row(name, [rate, ratios[0] ?? '', median(theirs.map(({ cpu }) => cpu)).toFixed(2), ratios[1] ?? '', lost], about)
          if (i > 0 && !(ratio >= least)) miss(`below ${least}`)
        }
      }
    }
  })
}

/** @param {Generator} generator */
async function workers(generator) {
  const reusePort = await canReusePort()
  const contestants = [await startOurs(), await startOurs(undefined, 2, reusePort)]
  const results = await inTurns(2, (i) =>
    generator.run(/** @type {Contestant} */ (contestants[i]), WORKER_FLOWS, {
      direction: 'up',
      payload: 1_200,
      window: WORKER_WINDOW,
      seconds,
    }),
  )
  await Promise.all(contestants.map((contestant) => contestant.stop()))
  const [one = [], two = []] = results
  console.log('')
  row('workers', ['packets/s', 'two to one', 'CPU µs', 'cores'], `${WORKER_FLOWS} flows up, 1,200 bytes, nobody has a core to himself`)
  const ratio = median(two.map(({ rate }, r) => rate / (one[r]?.rate ?? Number.NaN)))
  for (const [i, name] of ['one', 'two'].entries()) {
    const of = results[i] ?? []
    row(
      name,
      [
        whole(median(of.map(({ rate }) => rate))),
        i === 0 ? '' : ratio.toFixed(3),
        median(of.map(({ cpu }) => cpu)).toFixed(2),
        median(of.map(({ load }) => load)).toFixed(2),
      ],
      i === 0 ? '' : reusePort ? 'on one port' : 'on a port each',
    )
  }
  if (!(ratio >= LEAST_WORKERS)) miss(`below ${LEAST_WORKERS}`)
}

/** @param {Generator} generator */
async function latency(generator) {
  const entries = [DIRECT, OURS, ...(withCoturn ? [COTURN] : []), BARE]
  await among(entries, async (contestants) => {
    for (const rate of RATES) {
      const results = await inTurns(contestants.length, (i) =>
        generator.run(/** @type {Contestant} */ (contestants[i]), 1, {
          direction: 'up',
          payload: 1_200,
          rate,
          seconds: 2 * seconds,
          core: generatorCore,
        }),
      )
      const direct = results[0] ?? []
      console.log('')
      row(`${whole(rate)} packets/s`, ['p50 µs', 'added', 'p99 µs', 'added', 'server'], '1,200 bytes up; server: part of its core')
      for (const [i, { name, about }] of entries.entries()) {
        const of = results[i] ?? []
        const [p50, p99] = /** @type {const} */ (['p50', 'p99']).map((quantile) => {
          const all = median(of.map((result) => result[quantile]))
          const added = median(of.map((result, r) => result[quantile] - (direct[r]?.[quantile] ?? Number.NaN)))
          return [all.toFixed(0), i === 0 ? '' : added.toFixed(0)]
        })
        row(name, [...(p50 ?? []), ...(p99 ?? []), `${(100 * median(of.map(({ load }) => load))).toFixed(0)} %`], about)
      }
    }
  })
}

async function manyAllocations() {
  console.log('')
  row('allocations', ['a second', 'CPU µs', 'bytes', 'a second', 'CPU µs', 'bytes'], `cold and warm, ${whole(allocations)} each; RSS`)
  for (const { name, start, about } of [OURS, ...(withCoturn ? [COTURN] : [])]) {
    const runs = []
    for (let i = 0; i < few; i++) {
      const contestant = await start(serverCore)
      const run = [await allocateMany(contestant, allocations), await allocateMany(contestant, allocations)]
      await contestant.stop()
      for (const { close } of run) close()
      runs.push(run)
    }
    /** @param {number} i @param {'rate' | 'cpu' | 'bytes'} what */
    const of = (i, what) => median(runs.map((run) => run[i]?.[what] ?? Number.NaN))
    row(
      name,
      [0, 1].flatMap((i) => [whole(of(i, 'rate')), of(i, 'cpu').toFixed(0), whole(of(i, 'bytes'))]),
      about,
    )
    if (name === OURS.name && !((of(0, 'bytes') + of(1, 'bytes')) / 2 <= MOST_BYTES)) miss(`more than ${MOST_BYTES} bytes`)
  }
}

const generator = new Generator().compile()
try {
  console.log(
    `node ${process.version}, loopback, ${apart ? 'generator and server on a core each' : 'one core for all'}, medians of ${rounds} rounds`,
  )
  if (asked.has('throughput')) await throughput(generator)
  if (asked.has('workers')) await workers(generator)
  if (asked.has('latency')) await latency(generator)
  if (asked.has('allocations')) await manyAllocations()
} finally {
  generator.remove()
}
