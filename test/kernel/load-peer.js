// @ts-check
/**
 * One end of a path under load: `node load-peer.js <options of createTraversal, JSON>`, driven by JSON lines on standard input.
 * `{ signal }` is the peer's. `{ load: true }` sends numbered datagrams on a schedule that does not drift, `{ load: false }` stops.
 * `{ ask: 'report' | 'explain' | 'relays', id }` is answered by `{ answer: id, … }`. Writes `{ signal }`, and `{ event, at, … }` with each
 * path and state, `at` in milliseconds since 1970. Leaves when standard input ends.
 */
import { performance } from 'node:perf_hooks'
import { createInterface } from 'node:readline'
import { createTraversal } from '../../dist/index.js'

const RATE = 1_000
const BYTES = 1_200
/** Datagrams that came out of order are told one by one, up to so many. */
const TOLD = 200

/** @typedef {{ signal?: import('../../dist/index.js').Signal, load?: boolean, ask?: 'report' | 'explain' | 'relays', id?: number }} Order */

/** @type {string[]} */
const early = []
let take = (/** @type {string} */ line) => void early.push(line)
const input = createInterface({ input: process.stdin }).on('line', (line) => take(line))

const traversal = await createTraversal(JSON.parse(process.argv[2] ?? '{}'))
const session = traversal.connect({ peer: 'peer' })

const load = {
  sent: 0,
  /** `send` said that the queue was full. */
  full: 0,
  began: 0,
  /** Milliseconds that the schedule was behind at most: how long this process stood still. */
  late: 0,
  /** @type {NodeJS.Timeout | undefined} */
  timer: undefined,
}

const seen = {
  /** How often each number came. */
  /** @type {Map<number, number>} */
  counts: new Map(),
  highest: -1,
  doubled: 0,
  damaged: 0,
  overtaken: 0,
  /** @type {{ number: number, behind: number, at: number }[]} */
  reordered: [],
  lastAt: 0,
  longestGap: { ms: 0, at: 0 },
}

session.on('signal', (signal) => print({ signal }))
session.on('path', (path) => print({ event: 'path', at: now(), ...path }))
session.on('state', (state) => print({ event: 'state', at: now(), state }))
session.on('error', (error) => print({ event: 'error', at: now(), code: error.code, message: error.message }))
session.on('message', hear)

take = (line) => obey(JSON.parse(line))
for (const line of early) take(line)
input.once('close', async () => {
  clearTimeout(load.timer)
  await traversal.close()
})

/** @param {Order} order */
function obey({ signal, load: wanted, ask, id }) {
  if (signal !== undefined) session.signal(signal)
  if (wanted === true && load.timer === undefined) {
    load.began = performance.now() - (load.sent * 1_000) / RATE
    tick()
  }
  if (wanted === false) {
    clearTimeout(load.timer)
    load.timer = undefined
  }
  if (ask === 'report') print({ answer: id, report: report() })
  if (ask === 'explain') print({ answer: id, text: String(session.explain()) })
  if (ask === 'relays') print({ answer: id, relays: traversal.status().relays })
}

function tick() {
  const elapsed = performance.now() - load.began
  load.late = Math.max(load.late, elapsed - (load.sent * 1_000) / RATE)
  while ((load.sent * 1_000) / RATE <= elapsed) send()
  load.timer = setTimeout(tick, (load.sent * 1_000) / RATE - (performance.now() - load.began))
}

function send() {
  const data = Buffer.alloc(BYTES, load.sent & 0xff)
  data.writeUInt32BE(load.sent++)
  if (!session.send(data)) load.full++
}

/** @param {Uint8Array} data */
function hear(data) {
  const number = new DataView(data.buffer, data.byteOffset).getUint32(0)
  const at = now()
  if (data.length !== BYTES || data.subarray(4).some((byte) => byte !== (number & 0xff))) seen.damaged++
  if (seen.lastAt > 0 && at - seen.lastAt > seen.longestGap.ms) seen.longestGap = { ms: at - seen.lastAt, at: seen.lastAt }
  seen.lastAt = at
  const count = (seen.counts.get(number) ?? 0) + 1
  seen.counts.set(number, count)
  if (count > 1) seen.doubled++
  else if (number < seen.highest) {
    seen.overtaken++
    if (seen.reordered.length < TOLD) seen.reordered.push({ number, behind: seen.highest - number, at })
  }
  seen.highest = Math.max(seen.highest, number)
}

function report() {
  const { counts, lastAt: _, ...rest } = seen
  return { sent: load.sent, full: load.full, late: load.late, received: counts.size, missing: missing(), ...rest, status: session.status }
}

/** Ranges of numbers that did not come, first and last. */
function missing() {
  /** @type {[number, number][]} */
  const ranges = []
  for (let number = 0; number < seen.highest; number++) {
    if (seen.counts.has(number)) continue
    const last = ranges.at(-1)
    if (last?.[1] === number - 1) last[1] = number
    else ranges.push([number, number])
  }
  return ranges
}

function now() {
  return performance.timeOrigin + performance.now()
}

/** @param {object} line */
function print(line) {
  process.stdout.write(`${JSON.stringify(line)}\n`)
}
