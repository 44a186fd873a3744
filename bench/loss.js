/**
 * How soon two peers meet when packets are lost, in virtual time: d = s = 20 ms, two STUN servers given by address, a signalling channel
 * that loses nothing. The loss is on the peers' accesses, each way, and is told two ways: as the loss between the peers (36 % between them is
 * 20 % on each access), and as the loss of each access (36 % on each is 59 % between them, and one round trip in six comes through).
 * Run after a build: node bench/loss.js [seeds]. Exit code 1 when a limit is missed.
 */
import { createTraversal } from '../dist/index.js'
import { createLab } from '../dist/lab/index.js'
import { createStunServer } from '../dist/stun/index.js'
import { CELLS, LOSSES, limitsOf, measureLoss, misses } from './loss/measure.js'

const seeds = Number(process.argv[2] ?? 1_000)
if (!Number.isInteger(seeds) || seeds < 1) throw new RangeError(`not a number of seeds: ${process.argv[2]}`)

const library = { createLab, createTraversal, createStunServer }
const startedAt = performance.now()

console.log(`Virtual ms from createTraversal on both sides, ${seeds} seeds a row: median, p99, worst. d = s = 20 ms; signals are not lost.`)
console.log('loss: each way between the peers, and on the access of each; the accesses lose 36 % in one reading and 20 % in the other.')
console.log(
  'paths: both sides have one. first, last: one side’s data is answered, both sides’ is; from the first path on, questions are repeated',
)
console.log(
  'every 20 ms until answered, for they are lost as well. sent: by one side until 5 s after that: checks of the peer, with the most',
)
console.log('that any side sent, and requests to servers.\n')
const width = Math.max(...CELLS.map(({ name }) => name.length))
const times = '  median   p99 worst'
console.log(
  `${''.padEnd(width)}   loss          |                |${'paths'.padEnd(times.length)}|${'first'.padEnd(times.length)}|${'last'.padEnd(times.length)}| sent`,
)
console.log(`${'cell'.padEnd(width)}  between access |     met  direct |${times}|${times}|${times}| checks  most requests`)

let missed = 0
for (const cell of CELLS) {
  for (const loss of LOSSES) {
    const row = await measureLoss(library, cell, loss, seeds)
    const failures = misses(row, limitsOf(loss))
    missed += failures.length
    console.log(`${cell.name.padEnd(width)}  ${describe(loss)} | ${line(row)}${failures.length > 0 ? `  < ${failures.join(', ')}` : ''}`)
  }
}
console.log(`\n${((performance.now() - startedAt) / 1_000).toFixed(1)} s.`)
if (missed > 0) {
  console.log(`${missed} limits are missed.`)
  process.exitCode = 1
}

function describe({ between, access }) {
  return `${percent(between).padStart(7)} ${percent(access).padStart(6)}`
}

function line({ met, direct, seeds: all, paths, first, last, checks, requests }) {
  const share = (count) => `${((100 * count) / all).toFixed(1)} %`.padStart(8)
  const ms = (value, digits) => value.toFixed(0).padStart(digits)
  const three = ({ median, p99, worst }) => `${ms(median, 8)}${ms(p99, 6)}${ms(worst, 6)}`
  const sent = `${checks.mean.toFixed(1).padStart(7)} ${String(checks.most).padStart(5)} ${requests.mean.toFixed(1).padStart(8)}`
  return `${share(met)}${share(direct)}|${three(paths)}|${three(first)}|${three(last)}|${sent}`
}

function percent(share) {
  return `${(100 * share).toFixed(0)} %`
}
