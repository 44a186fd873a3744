// @ts-check
/**
 * One end of a path under load: `node load-peer.js <options of createTraversal, JSON>`, driven by JSON lines on standard input.
 * `{ signal }` is the peer's. `{ load: 1000 }` sends so many numbered datagrams a second, on a schedule that does not drift; 0 stops.
 * `{ ask: 'report' | 'explain' | 'relays', id }` is answered by `{ answer: id, … }`. Writes `{ signal }`, and `{ event, at, … }` with each
 * path and state, `at` in milliseconds since 1970. Leaves when standard input ends.
 */
import { performance } from 'node:perf_hooks'
import { createInterface } from 'node:readline'
import { createTraversal } from '../../dist/index.js'

const BYTES = 1_200
/** Milliseconds without any datagram that are worth telling, and how many times at most. */
const GAP = 50
const MOST_GAPS = 200

/** @typedef {{ signal?: import('../../dist/index.js').Signal, load?: number, ask?: 'report' | 'explain' | 'relays', id?: number }} Order */

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
  /** Changes of our path so far: every datagram says how many there were when it was sent. */
  changes: 0,
  began: 0,
  /** Datagrams a second. */
  rate: 0,
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
  /** The highest number by the changes of the peer's path. */
  /** @type {Map<number, number>} */
  highestOf: new Map(),
  doubled: 0,
  damaged: 0,
  /** After one that was sent later on the same path: no path of UDP through this kernel does that by itself. */
  disordered: 0,
  /** After one that was sent later on another path, which was shorter. */
  overtaken: 0,
  /** By how many numbers at most. */
  behind: 0,
  lastAt: 0,
  /** @type {{ ms: number, at: number }[]} */
  gaps: [],
}

session.on('signal', (signal) => print({ signal }))
session.on('path', (path) => {
  load.changes++
  print({ event: 'path', at: now(), sent: load.sent, ...path })
})
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
function obey({ signal, load: rate, ask, id }) {
  if (signal !== undefined) session.signal(signal)
  if (rate !== undefined) {
    clearTimeout(load.timer)
    load.rate = rate
    load.began = performance.now() - sentAfter()
    if (rate > 0) tick()
  }
  if (ask === 'report') print({ answer: id, report: report() })
  if (ask === 'explain') print({ answer: id, text: String(session.explain()) })
  if (ask === 'relays') print({ answer: id, relays: traversal.status().relays })
}

function tick() {
  const elapsed = performance.now() - load.began
  load.late = Math.max(load.late, elapsed - sentAfter())
  while (sentAfter() <= elapsed) send()
  load.timer = setTimeout(tick, sentAfter() - (performance.now() - load.began))
}

/** Milliseconds from the beginning to the next datagram. */
function sentAfter() {
  return load.rate === 0 ? 0 : (load.sent * 1_000) / load.rate
}

function send() {
  const data = Buffer.alloc(BYTES, load.sent & 0xff)
  data.writeUInt32BE(load.sent++)
  data.writeUInt32BE(load.changes, 4)
  if (!session.send(data)) load.full++
}

/** @param {Uint8Array} data */
function hear(data) {
  const header = new DataView(data.buffer, data.byteOffset, 8)
  const [number, change] = [header.getUint32(0), header.getUint32(4)]
  const at = now()
  if (data.length !== BYTES || data.subarray(8).some((byte) => byte !== (number & 0xff))) seen.damaged++
  if (seen.lastAt > 0 && at - seen.lastAt > GAP && seen.gaps.length < MOST_GAPS) seen.gaps.push({ ms: at - seen.lastAt, at: seen.lastAt })
  seen.lastAt = at
  const count = (seen.counts.get(number) ?? 0) + 1
  seen.counts.set(number, count)
  const highest = seen.highestOf.get(change) ?? -1
  if (count > 1) seen.doubled++
  else if (number < highest) seen.disordered++
  else if (number < seen.highest) seen.overtaken++
  if (count === 1) seen.behind = Math.max(seen.behind, seen.highest - number)
  seen.highestOf.set(change, Math.max(highest, number))
  seen.highest = Math.max(seen.highest, number)
}

function report() {
  const { counts, highestOf: _, lastAt: __, ...rest } = seen
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
