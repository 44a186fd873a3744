// @ts-check
/**
 * The port mapping packages of npm and ours, each at home behind a real router (miniupnpd, nftables) in network namespaces, in one run.
 * As root, after a build: `npm run build && node bench/port-mapping.js [--runs 11] [--peers folder] [--trial words]… [--verbose] [name …]`
 *
 * The packages are no dependencies of this one: the exact versions of `port-mapping/peers` are installed with npm into a temporary folder first, which
 * takes the registry; `--peers` names a folder where that was done before. What a cell says is the packet filter's word and that of a host
 * outside, not the package's. Everybody has a process of his own for each trial, and 8 s for each step: what crashes or hangs is a cell.
 * Times are from the call until it says that it is mapped, with all protocols there, everything loaded, in turns: medians.
 *
 * Exit code 1 when ours fails a trial; 2 without root or a program.
 */
import { execFileSync, spawnSync } from 'node:child_process'
import { cpSync, existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { Network } from './port-mapping/network.js'
import { attempt, TRIALS, time } from './port-mapping/trials.js'

/** A package that leaves the choice of a protocol to its user is two. */
const CONTESTANTS = ['sallyport', 'nat-port-mapper, UPnP', 'nat-port-mapper, NAT-PMP', 'nat-api', 'nat-api, NAT-PMP', 'nat-upnp', 'nat-pmp']
const [OURS = ''] = CONTESTANTS

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    runs: { type: 'string', default: '11' },
    peers: { type: 'string' },
    trial: { type: 'string', multiple: true },
    verbose: { type: 'boolean', default: false },
  },
})
const runs = Number(values.runs)
if (!(runs >= 0)) throw new RangeError('runs has to be a number')
const unknown = positionals.find((name) => !CONTESTANTS.includes(name))
if (unknown !== undefined) throw new TypeError(`${unknown}: not one of ${CONTESTANTS.join('; ')}`)
const names = positionals.length === 0 ? CONTESTANTS : positionals

if (process.platform !== 'linux' || process.getuid?.() !== 0) {
  console.error('This needs root on Linux: it makes network namespaces.')
  process.exit(2)
}
const missing = ['ip', 'nft', 'miniupnpd', 'upnpc'].filter((command) => spawnSync(command, ['-V']).error !== undefined)
if (missing.length > 0) {
  console.error(`This needs ${missing.join(', ')}.`)
  process.exit(2)
}

/** @param {readonly number[]} numbers */
const median = (numbers) => [...numbers].sort((a, b) => a - b)[numbers.length >> 1] ?? Number.NaN

const trials = TRIALS.filter(({ name }) => values.trial?.some((words) => name.includes(words)) ?? true)

/** @param {string} name @param {readonly string[]} cells */
const row = (name, cells) => console.log(`${name.padEnd(31)}${cells.map((cell) => cell.padStart(16)).join('')}`)

/** Resolves with the folder that has the packages. */
function install() {
  const folder = mkdtempSync(join(tmpdir(), 'port-mapping-packages-'))
  cpSync(fileURLToPath(new URL('port-mapping/peers/', import.meta.url)), folder, { recursive: true })
  console.log(`installing npm's packages into ${folder}, which is removed at the end`)
  execFileSync('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'], { cwd: folder, stdio: 'inherit' })
  return folder
}

const needed = names.some((name) => name !== OURS)
if (values.peers !== undefined && !existsSync(join(values.peers, 'node_modules')))
  throw new Error(`${values.peers}: nothing is installed there`)
const folder = values.peers ?? (needed ? install() : '')
const network = await Network.create()
try {
  /** @type {import('./port-mapping/network.js').Home[]} */
  const homes = []
  for (const i of names.keys()) homes.push(await network.home(`home${i}`))
  const versions = needed ? JSON.parse(execFileSync('npm', ['ls', '--json'], { cwd: folder, encoding: 'utf8' })).dependencies : {}
  console.log(`node ${process.version}, ${execFileSync('miniupnpd', ['--version'], { encoding: 'utf8' }).split('\n')[0]}`)
  for (const [name, { version }] of Object.entries(versions)) console.log(`${name} ${version}`)
  console.log('')
  row(
    '',
    names.map((name) => name.split(', ')[0] ?? ''),
  )
  row(
    '',
    names.map((name) => name.split(', ')[1] ?? ''),
  )

  for (const trial of trials) {
    const verdicts = await Promise.all(homes.map((home, i) => attempt(home, names[i] ?? '', folder, trial)))
    row(
      trial.name,
      verdicts.map(({ cell }) => cell),
    )
    if (names[0] === OURS && !verdicts[0]?.good) process.exitCode = 1
    if (!values.verbose) continue
    for (const [i, { why }] of verdicts.entries()) if (why !== undefined) console.log(`  ${names[i]}: ${why}`)
  }

  const times = names.map(() => /** @type {number[]} */ ([]))
  for (let run = 0; run < runs; run++) {
    // Nobody always follows the same one.
    const turn = [...homes.entries()].map((_, k, entries) => /** @type {(typeof entries)[0]} */ (entries[(k + run) % entries.length]))
    for (const [i, home] of turn) {
      const ms = await time(home, names[i] ?? '', folder)
      if (ms !== undefined) times[i]?.push(ms)
    }
  }
  if (runs > 0) {
    const medians = times.map(median)
    row(
      'time to mapped, ms',
      medians.map((ms) => (Number.isNaN(ms) ? 'never' : ms.toFixed(1))),
    )
    if (names[0] === OURS)
      row(
        '  to ours',
        medians.map((ms) => (Number.isNaN(ms) ? '' : (ms / (medians[0] ?? Number.NaN)).toFixed(2))),
      )
  }
} finally {
  await network.close()
  if (needed && values.peers === undefined) rmSync(folder, { recursive: true, force: true })
}
