// @ts-check
/**
 * `session.send` to `message` on a direct path over real sockets on loopback, beside raw node:dgram, in one run and in turns:
 * `npm run build && node bench/path.js [--starts 3] [--rounds 201]`
 *
 * Contestants are in `path/contestant.js`: ours by the public API, on its own sockets and on the caller's; dgram tuned as far as it goes (a
 * look-up that answers at once, the same 4 MiB buffers, no callback), not connected, as a socket that serves many peers has to be; the same
 * connected, which serves one; and dgram as most programs use it. At most 64 datagrams are on their way at a time, the same for all, and
 * all have to arrive.
 *
 * Each has a process to itself, so that none runs on code that was optimised for another one, and both of its ends in there: what is
 * counted is the whole cost of a datagram, sending and receiving. With two processes only the sender would count, who is the slower.
 *
 * A round is 1,000 datagrams, one contestant after the other; a ratio is the median over the rounds of all starts, of packets per second
 * within one round. Beside it the same by processor time, in which a machine that others use too makes less of a difference.
 * Exit code 1 when ours is below 0.95 of dgram, or not faster than the naive user.
 */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { parseArgs } from 'node:util'

const SIZES = [100, 1_200]
const DATAGRAMS = 1_000
const WARM_UP = 40
/** `least`: ours to each of the others. The connected one shows what a datagram pays for a socket that serves many, as a session's does. */
const CONTESTANTS = [
  { name: 'sallyport', about: 'two traversals, one session', least: 0 },
  { name: 'shared', about: "the same on the caller's own sockets", least: 0 },
  { name: 'dgram', about: 'tuned, not connected', least: 0.95 },
  { name: 'connected', about: 'tuned, connected: for one peer only', least: 0 },
  { name: 'naive', about: 'default look-up, a callback for each datagram', least: 1 },
]

const { values } = parseArgs({ options: { starts: { type: 'string', default: '3' }, rounds: { type: 'string', default: '201' } } })
const starts = Number(values.starts)
const rounds = Number(values.rounds)
if (!(starts >= 1 && rounds >= 1)) throw new RangeError('starts and rounds have to be numbers from 1 on')

/**
 * @typedef {{ rate: number, cpu: number }} Result datagrams a second, microseconds of processor time for each
 * @typedef {import('node:child_process').ChildProcess} Child
 */

/** @param {Child} child @returns {Promise<any>} what it says next */
function answer(child) {
  return new Promise((resolve, reject) => {
    /** @param {number | null} code */
    const gone = (code) => reject(new Error(`${child.spawnargs.at(-1)} left with ${code}`))
    child.once('exit', gone)
    child.once('message', (message) => {
      child.off('exit', gone)
      resolve(message)
    })
  })
}

/** @param {Child} child @param {number} bytes @returns {Promise<Result>} */
function round(child, bytes) {
  child.send({ datagrams: DATAGRAMS, bytes })
  return answer(child)
}

/** @param {readonly number[]} numbers */
const median = (numbers) => [...numbers].sort((a, b) => a - b)[numbers.length >> 1] ?? 0

const results = SIZES.map(() => CONTESTANTS.map(() => /** @type {Result[]} */ ([])))

for (let start = 0; start < starts; start++) {
  const children = CONTESTANTS.map(({ name }) => fork(new URL('./path/contestant.js', import.meta.url), [name]))
  await Promise.all(children.map(answer))
  for (const [index, bytes] of SIZES.entries()) {
    for (const child of children) for (let i = 0; i < WARM_UP; i++) await round(child, bytes)
    for (let r = 0; r < rounds; r++) {
      // Nobody always follows the same one, nor always comes first.
      const order = children.map((_, i) => (i + r) % children.length)
      if (r % 2 === 1) order.reverse()
      for (const i of order) results[index]?.[i]?.push(await round(/** @type {Child} */ (children[i]), bytes))
    }
  }
  await Promise.all(
    children.map((child) => {
      child.disconnect()
      return once(child, 'exit')
    }),
  )
}

console.log(`node ${process.version}, loopback, ${starts} starts of ${rounds} rounds of ${DATAGRAMS} datagrams, medians`)
for (const [index, bytes] of SIZES.entries()) {
  const ofSize = results[index] ?? []
  const ours = ofSize[0] ?? []
  console.log(
    `\n${`${bytes} bytes`.padEnd(12)}${['packets/s', 'ours to it', 'CPU µs', 'ours to it'].map((head) => head.padStart(12)).join('')}`,
  )
  for (const [i, { name, about, least }] of CONTESTANTS.entries()) {
    const theirs = ofSize[i] ?? []
    const ratio = median(ours.map(({ rate }, r) => rate / (theirs[r]?.rate ?? 0)))
    // Packets per second of processor time, so that more is better in both.
    const cpuRatio = median(ours.map(({ cpu }, r) => (theirs[r]?.cpu ?? 0) / cpu))
    const rate = Math.round(median(theirs.map((result) => result.rate))).toLocaleString('en')
    const cpu = median(theirs.map((result) => result.cpu)).toFixed(2)
    const ratios = i === 0 ? ['', ''] : [ratio.toFixed(3), cpuRatio.toFixed(3)]
    console.log(`${name.padEnd(12)}${[rate, ratios[0], cpu, ratios[1]].map((cell) => cell?.padStart(12)).join('')}  ${about}`)
    if (ratio >= least) continue
    console.error(`${''.padEnd(12)}below ${least}`)
    process.exitCode = 1
  }
}
