// @ts-check
/**
 * Thousands of sessions over one socket in one process: `npm run build && node bench/scale.js [sessions …] [--rounds 15]`; 1000 and 10000
 * by default. `--rounds 0` leaves the cost of datagrams out. Real sockets on loopback; the far ends, each a traversal with its own socket, are in another process.
 *
 * - Everybody connects. It takes a while: checks keep one pace for the process, one each 5 ms (RFC 8445 14.2).
 * - bytes: heap and array buffers that a connected session keeps, listeners of its user included, after garbage collection.
 * - idle: CPU time of the process for each session and second while nothing but consent checks goes on.
 * - datagram: CPU time for one datagram out and one in, each time on another session, without what idling cost just before. With two
 *   sizes both processes live at the same time and take turns, and the ratio is the median of the rounds.
 *
 * Exit code 1 when a session does not connect, keeps more than 8 KiB, or a datagram costs over 1.10 times as much with the larger size.
 */
import { fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

const MOST_BYTES = 8_192
const MOST_RATIO = 1.1
const SETTLING = 10_000
const IDLE = 10_000
/** As long as one round of consent checks. */
const IDLE_BETWEEN = 5_000
const DATAGRAMS = 60_000

const { values, positionals } = parseArgs({ allowPositionals: true, options: { rounds: { type: 'string', default: '15' } } })
const sizes = positionals.length === 0 ? [1_000, 10_000] : positionals.map(Number)

/** @param {number[]} numbers */
const median = (numbers) => [...numbers].sort((a, b) => a - b)[numbers.length >> 1] ?? Number.NaN

/** @param {number} size */
async function startHub(size) {
  const child = fork(fileURLToPath(new URL('scale/hub.js', import.meta.url)), [String(size)], { execArgv: ['--expose-gc'] })
  /** @type {(value: any) => void} */
  let answer = () => {}
  child.on('message', (message) => answer(message))
  child.on('exit', (code) => {
    if (child.connected) return
    if (code !== 0) process.exitCode = 1
  })
  await new Promise((resolve) => {
    answer = resolve
  })
  return {
    size,
    /** @param {string} what @param {number} amount @returns {Promise<any>} */
    ask: (what, amount) =>
      new Promise((resolve) => {
        answer = resolve
        child.send({ what, amount })
      }),
    leave: () => child.disconnect(),
  }
}

const hubs = []
let failed = false
for (const size of sizes) {
  const hub = await startHub(size)
  const { connected, seconds, bytes } = await hub.ask('connect', SETTLING)
  const idle = await hub.ask('idle', IDLE)
  console.log(
    `${String(size).padStart(6)} sessions: ${connected} connected in ${seconds.toFixed(1)} s, ${idle.connected} still; ` +
      `${Math.round(bytes)} bytes each; idle ${((idle.cpu / idle.seconds / size) * 1e6).toFixed(1)} µs of CPU a session and second`,
  )
  failed ||= connected < size || idle.connected < size || bytes > MOST_BYTES
  hubs.push(hub)
}

/** Microseconds of CPU for a datagram there and back. @param {Awaited<ReturnType<typeof startHub>>} hub */
async function cost(hub) {
  const idle = await hub.ask('idle', IDLE_BETWEEN)
  const { cpu, seconds, came } = await hub.ask('exchange', DATAGRAMS)
  return ((cpu - (idle.cpu / idle.seconds) * seconds) / came) * 1e6
}

const rounds = Number(values.rounds)
if (rounds > 0) await compareCosts()
for (const { leave } of hubs) leave()
if (failed) {
  console.log('over a limit')
  process.exitCode = 1
}

/** In turns, each process once a round. */
async function compareCosts() {
  /** @type {number[][]} */
  const costs = hubs.map(() => [])
  for (const hub of hubs) await cost(hub)
  for (let round = 0; round < rounds; round++) {
    for (const [index, hub] of hubs.entries()) costs[index]?.push(await cost(hub))
  }
  for (const [index, { size }] of hubs.entries()) {
    console.log(`${String(size).padStart(6)} sessions: ${median(costs[index] ?? []).toFixed(2)} µs of CPU for a datagram out and one in`)
  }
  const [small, large] = costs
  if (small !== undefined && large !== undefined) {
    const ratio = median(large.map((value, round) => value / (small[round] ?? Number.NaN)))
    console.log(`${sizes[1]} beside ${sizes[0]}: ${ratio.toFixed(2)} times the CPU for a datagram (at most ${MOST_RATIO.toFixed(2)})`)
    failed ||= !(ratio <= MOST_RATIO)
  }
}
