// @ts-check
/**
 * The process that `scale.js` measures: one traversal, one socket, and so many sessions. Driven by the channel to its parent: `connect`, then
 * any number of `idle` and `exchange`; each is answered with what was measured.
 */
import { fork } from 'node:child_process'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { createTraversal } from '../../dist/index.js'

/** Sessions that come and go before the heap is measured the first time: their code is compiled, their caches are full. */
const WARM_UP = 1_000
/** Datagrams on their way at a time; this side's socket has to hold them all. */
const WINDOW = 200

const count = Number(process.argv[2])
const gc = /** @type {() => void} */ (globalThis.gc)
const traversal = await createTraversal({ hosts: { loopback: true, families: [4], accept: ({ internal }) => internal } })
/** @type {Map<number, import('../../dist/index.js').Session>} */
const sessions = new Map()
const far = fork(fileURLToPath(new URL('far.js', import.meta.url)), [String(count + WARM_UP)])
process.on('disconnect', () => process.exit())
far.on('exit', () => process.exit(1))

/** @type {Map<number, import('../../dist/index.js').Signal[]>} */
const early = new Map()
await new Promise((resolve) => {
  far.on('message', (/** @type {'open' | [number, import('../../dist/index.js').Signal]} */ message) => {
    if (message === 'open') return resolve(undefined)
    const [index, signal] = message
    const session = sessions.get(index)
    if (session === undefined) early.set(index, [signal])
    else session.signal(signal)
  })
})

/** @param {number} from @param {number} to */
async function connect(from, to) {
  const ready = []
  for (let index = from; index < to; index++) {
    const session = traversal.connect({ peer: `peer ${index}` })
    sessions.set(index, session)
    session.on('signal', (signal) => void far.send([index, signal]))
    session.on('message', received)
    for (const signal of early.get(index) ?? []) session.signal(signal)
    early.delete(index)
    ready.push(session.ready)
  }
  const all = await Promise.allSettled(ready)
  return all.filter(({ status }) => status === 'fulfilled').length
}

function heap() {
  gc()
  gc()
  const { heapUsed, arrayBuffers } = process.memoryUsage()
  return heapUsed + arrayBuffers
}

/** CPU seconds of this process. */
function cpu() {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1e6
}

let waiting = 0
let came = 0
let next = () => {}
function received() {
  waiting--
  came++
  next()
}

/** Sends so many datagrams, each on another session, and has them back. @param {number} datagrams */
function exchange(datagrams) {
  const all = [...sessions.values()]
  const data = new Uint8Array(100)
  let sent = 0
  // A stride that meets every session once before any twice, and never a neighbour.
  const stride = Math.floor(all.length * 0.618) | 1
  let at = 0
  return new Promise((resolve) => {
    const patience = setInterval(() => {
      // What the far side's kernel dropped does not come back.
      waiting = 0
      next()
    }, 200)
    next = () => {
      while (waiting < WINDOW && sent < datagrams) {
        at = (at + stride) % all.length
        waiting++
        sent++
        all[at]?.send(data)
      }
      if (sent < datagrams || waiting > 0) return
      clearInterval(patience)
      next = () => {}
      resolve(undefined)
    }
    next()
  })
}

process.on('message', async (/** @type {{ what: string, amount: number }} */ { what, amount }) => {
  const started = performance.now()
  const before = cpu()
  if (what === 'connect') {
    await connect(count, count + WARM_UP)
    for (const session of sessions.values()) await session.close()
    sessions.clear()
    await sleep(1_000)
    const empty = heap()
    const begun = performance.now()
    const connected = await connect(0, count)
    const seconds = (performance.now() - begun) / 1_000
    // Until what is unheard is not said again, and nothing of the connecting is left.
    await sleep(amount)
    process.send?.({ connected, seconds, bytes: (heap() - empty) / count })
  } else if (what === 'idle') {
    await sleep(amount)
    const still = [...sessions.values()].filter(({ state }) => state === 'connected').length
    process.send?.({ cpu: cpu() - before, seconds: (performance.now() - started) / 1_000, connected: still })
  } else {
    came = 0
    await exchange(amount)
    process.send?.({ cpu: cpu() - before, seconds: (performance.now() - started) / 1_000, came })
  }
})
process.send?.('open')
