/**
 * How soon two peers have data both ways from a cold start, in virtual time, for every direct cell of the grid: 20 ms one way on the
 * internet and on the signalling channel, servers given by address. Against the common floor 2d + s + 2d + 2d and the cell's own (bench/connect/floor.js).
 * Run after a build: node bench/connect.js [seeds]. Exit code 1 when a median is more than 1.1 × the floor.
 */
import { createTraversal } from '../dist/index.js'
import { createLab } from '../dist/lab/index.js'
import { createStunServer } from '../dist/stun/index.js'
import { designFloor, LIMIT, measure } from './connect/floor.js'
import { meetIn } from './connect/meet.js'
import { PAIRS, RELATIONS } from './connect/topologies.js'

const seeds = Number(process.argv[2] ?? 11)
if (!Number.isInteger(seeds) || seeds < 1) throw new RangeError(`not a number of seeds: ${process.argv[2]}`)

const delays = { delay: 20, signalling: 20 }
const library = { createLab, createTraversal, createStunServer }

const rows = []
const cells = [...PAIRS, ...RELATIONS]
for (const cell of cells) {
  const meet = async (seed) => (await meetIn(library, cell, { ...delays, seed })).sides
  const result = await measure(meet, seeds, delays)
  if (result !== undefined) rows.push({ name: cell.name, ...result })
}

const ms = (value) => value.toFixed(1).padStart(8)
const ratio = (value) => value.toFixed(2).padStart(6)
const width = Math.max(...rows.map(({ name }) => name.length))
const head = `${'cell'.padEnd(width)}    first   floor ratio |    last   floor ratio`

console.log(`Virtual ms from createTraversal on both sides to data and its answer, median of ${seeds} seeds; d = s = 20 ms.`)
console.log(
  `first: one side's data is answered; last: both sides' is. floor: what ICE can do on that path; the common one is ${designFloor(delays)} ms.`,
)
console.log(`ratio: to the common floor; for last, to the cell's own where that is later. Over ${LIMIT} is marked.\n\n${head}`)
let over = 0
for (const { name, first, last, floor, firstRatio, lastRatio } of rows) {
  const isOver = firstRatio > LIMIT || lastRatio > LIMIT
  if (isOver) over++
  const mark = isOver ? '  <' : ''
  console.log(
    `${name.padEnd(width)} ${ms(first)}${ms(floor.first)}${ratio(firstRatio)} |${ms(last)}${ms(floor.last)}${ratio(lastRatio)}${mark}`,
  )
}
const worst = (key) => rows.reduce((a, b) => (b[key] > a[key] ? b : a))
const [first, last] = [worst('firstRatio'), worst('lastRatio')]
console.log(
  `\n${rows.length} direct cells of ${cells.length} (which they must be: test/grid). Worst ratio: first ${first.firstRatio.toFixed(3)} (${first.name}), last ${last.lastRatio.toFixed(3)} (${last.name}).`,
)
const alone = rows.reduce((a, b) => (b.last / b.design > a.last / a.design ? b : a))
console.log(`Worst of last to the common floor alone: ${(alone.last / alone.design).toFixed(3)} (${alone.name}).`)
if (over > 0) {
  console.log(`${over} cells are over ${LIMIT}.`)
  process.exitCode = 1
}
