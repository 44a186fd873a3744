// @ts-check
/**
 * Cold start to data both ways between two real processes behind two NATs, ours beside werift's in one run and in turns.
 * As root, after a build: `node bench/connect-processes.js [--runs 11] [--delay 20] [--verbose]`
 *
 * Each run starts two fresh processes in network namespaces of their own and carries their signals with the same delay that every packet
 * has one way (`processes/forwarder.js`), until each side has had the answer to a datagram of its own. Counted twice: from the start of
 * both processes, which is what a user waits for, and from a "go" to both once everything is loaded. The second leaves nothing to gain below
 * the floor, to which werift at its best comes close: 0.7 of it would be less than any ICE agent can do.
 * Exit code 1 when a median is more than its share of werift's below, or a run fails; 2 without root.
 */
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { parseArgs } from 'node:util'
import { DelayLine, now } from './processes/delay-line.js'
import { NATS, Network, SERVER } from './processes/network.js'

const MOST_FROM_START = 0.7
const MOST_FROM_GO = 1
/** Over the floor by this much, and we say where the time goes. */
const TOLERATED = 1.1
const TIMEOUT = 10_000

const { values } = parseArgs({
  options: {
    runs: { type: 'string', default: '11' },
    delay: { type: 'string', default: '20' },
    verbose: { type: 'boolean', default: false },
  },
})
const runs = Number(values.runs)
const delay = Number(values.delay)
/** STUN there and back, the signal, a check there and back, data there and its answer back. */
const floor = 7 * delay

if (process.platform !== 'linux' || process.getuid?.() !== 0) {
  console.error('This needs root on Linux: it makes network namespaces.')
  process.exit(2)
}

/**
 * @typedef {{ side: string, what: string, at: number }} Mark
 * @typedef {{ ms: number, marks: Mark[] }} Result
 * @typedef {import('node:child_process').ChildProcess} Child
 */

/** @param {Network} network @param {string} script @param {boolean} loaded @returns {Promise<Result>} */
async function measure(network, script, loaded) {
  const started = now()
  const peers = { a: network.spawn('a', script), b: network.spawn('b', script) }
  try {
    return await meet(peers.a, peers.b, loaded ? undefined : started)
  } finally {
    await Promise.all(Object.values(peers).map(leave))
  }
}

/** @param {Child} a @param {Child} b @param {number | undefined} started go at once, and count from then @returns {Promise<Result>} */
function meet(a, b, started) {
  const signalling = new DelayLine(delay)
  /** @type {Mark[]} */
  const marks = []
  let ready = 0
  let done = 0
  let began = started ?? 0
  const go = () => {
    write(a, { go: { stun: SERVER, controlling: true } })
    write(b, { go: { stun: SERVER, controlling: false } })
  }
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`no data both ways within ${TIMEOUT} ms`)), TIMEOUT)
    /** @param {string} side @param {Child} child @param {Child} other */
    const listen = (side, child, other) => {
      child.once('exit', (code) => reject(new Error(`a peer left with ${code}`)))
      const lines = createInterface({ input: /** @type {import('node:stream').Readable} */ (child.stdout) })
      lines.on('line', (text) => {
        const line = JSON.parse(text)
        if (line.signal !== undefined) signalling.add(() => write(other, { signal: line.signal }))
        if (line.ready && ++ready === 2 && started === undefined) {
          began = now()
          go()
        }
        if (!line.done) return
        for (const { what, at } of line.marks) marks.push({ side, what, at: at - began })
        if (++done < 2) return
        clearTimeout(timer)
        marks.sort((one, two) => one.at - two.at)
        resolve({ ms: marks.at(-1)?.at ?? 0, marks })
      })
    }
    listen('a', a, b)
    listen('b', b, a)
    if (started !== undefined) go()
  })
}

/** @param {Child} child @param {unknown} value */
function write(child, value) {
  child.stdin?.write(`${JSON.stringify(value)}\n`)
}

/** @param {Child} child */
async function leave(child) {
  if (child.exitCode !== null || child.signalCode !== null) return
  const gone = once(child, 'exit')
  child.stdin?.end()
  const timer = setTimeout(() => child.kill('SIGKILL'), 2_000)
  await gone
  clearTimeout(timer)
}

/** @param {readonly Result[]} results */
function medianOf(results) {
  return /** @type {Result} */ ([...results].sort((one, two) => one.ms - two.ms)[results.length >> 1])
}

/** @param {string} title @param {Result} result */
function timeline(title, { marks }) {
  console.log(`\n${title}`)
  for (const { side, what, at } of marks)
    console.log(`${at.toFixed(1).padStart(8)} ms  ${side === 'a' ? '' : '                                        '}${side}: ${what}`)
}

const network = await Network.create()
process.once('exit', () => network.close())
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => process.exit(130))
const forwarder = network.spawn('between', 'forwarder.js', JSON.stringify({ delay, server: SERVER, nats: NATS }))
const answers = createInterface({ input: /** @type {import('node:stream').Readable} */ (forwarder.stdout) })
forwarder.once('exit', (code) => {
  if (code !== 0) throw new Error(`the forwarder left with ${code}`)
})
await once(answers, 'line')

const CONTESTANTS = [
  { name: 'sallyport', script: 'sallyport-peer.js' },
  { name: 'werift', script: 'werift-peer.js' },
]

/** @param {boolean} loaded */
async function compare(loaded) {
  const contestants = CONTESTANTS.map((contestant) => ({ ...contestant, results: /** @type {Result[]} */ ([]) }))
  for (let run = 0; run < runs; run++) {
    // Whoever is first now is second next time.
    for (const { script, results } of run % 2 === 0 ? contestants : [...contestants].reverse()) {
      results.push(await measure(network, script, loaded))
      const forgotten = once(answers, 'line')
      forwarder.stdin?.write('reset\n')
      await forgotten
    }
  }
  console.log(`\nFrom ${loaded ? '"go" to two loaded processes' : 'the start of two processes'} to data both ways:`)
  console.log(`${''.padEnd(12)}${['median', 'least', 'most', 'over the floor'].map((head) => head.padStart(16)).join('')}`)
  for (const { name, results } of contestants) {
    const times = results.map(({ ms }) => ms).sort((one, two) => one - two)
    const median = medianOf(results).ms
    const cells = [median, times[0] ?? 0, times.at(-1) ?? 0, median - floor].map((ms) => `${ms.toFixed(1)} ms`.padStart(16))
    console.log(`${name.padEnd(12)}${cells.join('')}`)
  }
  const [ours, theirs] = /** @type {[Result, Result]} */ (contestants.map(({ results }) => medianOf(results)))
  console.log(`sallyport / werift = ${(ours.ms / theirs.ms).toFixed(2)}`)
  if (loaded && (values.verbose || ours.ms > TOLERATED * floor)) timeline('Where our time goes, in the median run:', ours)
  if (values.verbose) {
    timeline("Where werift's time goes, in the median run:", theirs)
    for (const { name, results } of contestants)
      timeline(
        `${name}, the slowest run:`,
        results.reduce((one, two) => (two.ms > one.ms ? two : one)),
      )
  }
  return ours.ms / theirs.ms
}

console.log(`Two real processes, cold, behind two port-restricted NATs, ${delay} ms one way, ${runs} runs each in turns; floor ${floor} ms`)
const fromGo = await compare(true)
const fromStart = await compare(false)
await leave(forwarder)
if (fromStart > MOST_FROM_START) console.error(`from the start: more than ${MOST_FROM_START} of werift's time`)
if (fromGo > MOST_FROM_GO) console.error(`from "go": more than ${MOST_FROM_GO} of werift's time`)
process.exitCode = fromStart > MOST_FROM_START || fromGo > MOST_FROM_GO ? 1 : 0
