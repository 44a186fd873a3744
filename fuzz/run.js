// @ts-check
/**
 * Coverage-guided fuzzing of what strangers can reach: `npm run fuzz`, see README.md.
 *   npm run fuzz -- [target ...] [--runs N | --seconds N] [--seed N] [--jobs N] [--keep]
 *   npm run fuzz -- --replay file ...
 */
import { spawn } from 'node:child_process'
import { createHash, randomInt } from 'node:crypto'
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { basename } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { Coverage } from './engine/coverage.js'
import { Fuzzer, runOnce } from './engine/fuzzer.js'
import { corpusOf, TARGETS } from './targets/index.js'

const REGISTER = new URL('./engine/register.js', import.meta.url).href
const PULSE_MS = 5_000
const DEFAULT_SECONDS = 30

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    runs: { type: 'string' },
    seconds: { type: 'string' },
    seed: { type: 'string' },
    jobs: { type: 'string', default: '1' },
    keep: { type: 'boolean', default: false },
    replay: { type: 'boolean', default: false },
    alone: { type: 'boolean', default: false },
  },
})

if (values.replay) await replay(positionals)
else if (values.alone) await fuzzAlone(/** @type {string} */ (positionals[0])).catch(exitWith)
else await fuzzAll(positionals.length > 0 ? positionals : Object.keys(TARGETS), Number(values.jobs))

/** Each target in a process of its own: one that dies, or fills the memory, takes no other with it. @param {string[]} names @param {number} jobs */
async function fuzzAll(names, jobs) {
  for (const name of names) if (!(name in TARGETS)) throw new Error(`no target ${name}; there are ${Object.keys(TARGETS).join(', ')}`)
  const waiting = [...names]
  await Promise.all(
    Array.from({ length: jobs }, async () => {
      for (let name = waiting.shift(); name !== undefined; name = waiting.shift()) {
        const options = /** @type {const} */ (['runs', 'seconds', 'seed']).flatMap((option) =>
          values[option] === undefined ? [] : [`--${option}`, values[option]],
        )
        const parameters = [
          '--import',
          REGISTER,
          fileURLToPath(import.meta.url),
          name,
          '--alone',
          ...options,
          ...(values.keep ? ['--keep'] : []),
        ]
        const child = spawn(process.execPath, parameters, { stdio: 'inherit' })
        const code = await new Promise((resolve) => child.on('exit', (code, signal) => resolve(signal ?? code)))
        if (code !== 0) process.exitCode = 1
      }
    }),
  )
}

/** @param {string} name */
async function fuzzAlone(name) {
  const seed = values.seed === undefined ? randomInt(2 ** 31) : Number(values.seed)
  const limit = values.runs === undefined ? Number.POSITIVE_INFINITY : Number(values.runs)
  const seconds = Number(values.seconds ?? (values.runs === undefined ? DEFAULT_SECONDS : Number.POSITIVE_INFINITY))
  const target = await /** @type {() => Promise<import('./engine/fuzzer.js').Target>} */ (TARGETS[name])()
  await target.prepare()
  const coverage = new Coverage()
  if (coverage.size === 0) throw new Error('the library was loaded without counters; build it, and start with npm run fuzz')
  const fuzzer = new Fuzzer(target, coverage, seed)
  const start = performance.now()
  let pulse = start
  const report = (/** @type {string} */ what) => {
    const elapsed = (performance.now() - start) / 1_000
    const { user, system } = process.cpuUsage()
    const rate = Math.round(fuzzer.runs / elapsed)
    const own = Math.round((fuzzer.runs * 1_000_000) / (user + system))
    const memory = Math.round(process.memoryUsage.rss() / 2 ** 20)
    console.log(
      `${name}: ${what}, ${fuzzer.runs} runs in ${elapsed.toFixed(1)} s, ${rate}/s (${own} per second of CPU), coverage ${coverage.total} of ${coverage.size} counters, corpus ${fuzzer.entries.length}, ${memory} MB`,
    )
  }
  console.log(`${name}: seed ${seed}`)
  const isOver = (/** @type {number} */ runs) => runs >= limit || performance.now() - start >= seconds * 1_000
  const tell = () => {
    if (performance.now() - pulse < PULSE_MS) return
    pulse = performance.now()
    report('going on')
  }
  const crash = (await fuzzer.read(corpusOf(name))) ?? (await fuzzer.fuzz(isOver, tell))
  report(crash === undefined ? 'nothing found' : 'FOUND SOMETHING')
  if (crash !== undefined) process.exitCode = 1
  else if (values.keep) keep(name, await fuzzer.smallest())
  await fuzzer.close()
}

/** @param {string} name @param {readonly import('./engine/fuzzer.js').Entry[]} entries */
function keep(name, entries) {
  const folder = new URL(`./corpus/${name}/`, import.meta.url)
  for (const file of readdirSync(folder)) if (file.startsWith('found-')) rmSync(new URL(file, folder))
  for (const entry of entries) {
    const file = entry.name ?? `found-${createHash('sha256').update(entry.data).digest('hex').slice(0, 12)}`
    writeFileSync(new URL(file, folder), entry.data)
  }
  console.log(`${name}: ${entries.length} inputs kept`)
}

/** The fuzzer's own error: it takes what is thrown elsewhere for the library's. @param {unknown} error */
function exitWith(error) {
  console.error(error)
  process.exit(1)
}

/** Without counters, so that a debugger shows the code as it was built. @param {readonly string[]} files */
async function replay(files) {
  for (const file of files) {
    const name = Object.keys(TARGETS).find((target) => basename(file).startsWith(`${target}-`) || file.split('/').at(-2) === target)
    if (name === undefined) throw new Error(`${file}: its name does not begin with a target's`)
    const target = await /** @type {() => Promise<import('./engine/fuzzer.js').Target>} */ (TARGETS[name])()
    await target.prepare()
    await runOnce(target, Uint8Array.from(readFileSync(file)))
    console.log(`${file}: nothing wrong`)
  }
}
