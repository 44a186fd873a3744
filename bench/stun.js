// @ts-check
/**
 * STUN codec beside those on npm, in one process and in turns, as ratios: `npm run build && node bench/stun.js`.
 * werift is there; the others are not worth a hundred packages in every checkout:
 * `npm install --no-save stun@2.1.0 @msimerson/stun@3.2.1 vs-stun@0.0.7` (gone again after `npm ci`).
 *
 * "encode" writes an ICE check, "decode" reads its values and checks the FINGERPRINT, "verify" checks MESSAGE-INTEGRITY on top:
 * `stun/codecs.js`. Before anything is measured, each codec has to write the same bytes, read the same values, and refuse a message with
 * a wrong FINGERPRINT or a wrong MESSAGE-INTEGRITY.
 * Exit code 1 when decode is below 3 times the best of the others, or verify below 1.5 times.
 */
import { crc32 } from 'node:zlib'
import { OTHERS, sallyport } from './stun/codecs.js'

const ROUNDS = 15
const MILLISECONDS = 60
/** @type {readonly { task: 'encode' | 'decode' | 'verify', least: number }[]} */
const TASKS = [
  { task: 'encode', least: 0 },
  { task: 'decode', least: 3 },
  { task: 'verify', least: 1.5 },
]

/** @typedef {import('./stun/codecs.js').Codec} Codec */

const ours = sallyport()
const datagram = Buffer.from(ours.encode())
/** FINGERPRINT is last, 8 bytes long; MESSAGE-INTEGRITY ends in front of it. */
const wrongFingerprint = damaged(datagram.length - 1)
const wrongIntegrity = rewritten(datagram.length - 9)

/** @param {number} at */
function damaged(at) {
  const copy = Buffer.from(datagram)
  copy.writeUInt8(copy.readUInt8(at) ^ 1, at)
  return copy
}

/** With a FINGERPRINT that is right for what it says. @param {number} at */
function rewritten(at) {
  const copy = damaged(at)
  const end = copy.length - 8
  copy.writeUInt32BE((crc32(copy.subarray(0, end)) ^ 0x5354554e) >>> 0, end + 4)
  return copy
}

/** @param {(() => unknown) | undefined} task */
function throws(task) {
  try {
    task?.()
    return task === undefined
  } catch {
    return true
  }
}

/** @param {Codec} codec */
function assertSameWork({ name, encode, decode, verify }) {
  if (!datagram.equals(encode())) throw new Error(`${name} writes other bytes: the comparison would be of different work`)
  decode?.(datagram)
  verify?.(datagram)
  if (!throws(decode && (() => decode(wrongFingerprint)))) throw new Error(`${name} does not check the FINGERPRINT`)
  if (!throws(verify && (() => verify(wrongIntegrity)))) throw new Error(`${name} does not check the MESSAGE-INTEGRITY`)
  // Or a refusal would say nothing.
  decode?.(wrongIntegrity)
}

/** Calls a second. @param {() => unknown} task */
function rate(task) {
  const begin = process.hrtime.bigint()
  const end = begin + BigInt(MILLISECONDS) * 1_000_000n
  let calls = 0
  let now = begin
  while (now < end) {
    for (let i = 0; i < 200; i++) task()
    calls += 200
    now = process.hrtime.bigint()
  }
  return calls / (Number(now - begin) / 1e9)
}

/** @param {readonly number[]} values */
const median = (values) => [...values].sort((a, b) => a - b)[values.length >> 1] ?? 0

/** @type {Codec[]} */
const codecs = [ours]
/** @type {string[]} */
const missing = []
for (const { name, version, codec } of OTHERS) {
  const library = await import(name).catch((error) => {
    if (error.code !== 'ERR_MODULE_NOT_FOUND') throw error
    missing.push(`${name}@${version}`)
  })
  if (library !== undefined) codecs.push(codec(`${name} ${version}`, library))
}
for (const codec of codecs) assertSameWork(codec)

console.log(`node ${process.version}, ${datagram.length} bytes, median of ${ROUNDS} rounds of ${MILLISECONDS} ms in turns, per second`)
for (const { task, least } of TASKS) {
  const able = codecs.flatMap((codec) => {
    const run = codec[task]
    return run === undefined ? [] : [{ name: codec.name, run: () => run(datagram), rates: /** @type {number[]} */ ([]) }]
  })
  for (const { run } of able) rate(run)
  for (let round = 0; round < ROUNDS; round++) for (const { run, rates } of able) rates.push(rate(run))
  let lowest = Number.POSITIVE_INFINITY
  for (const { name, rates } of able) {
    const ratio = median(rates.map((theirs, round) => (able[0]?.rates[round] ?? 0) / theirs))
    const isOurs = name === ours.name
    if (!isOurs) lowest = Math.min(lowest, ratio)
    const perSecond = Math.round(median(rates)).toLocaleString('en').padStart(10)
    console.log(`${task}  ${name.padEnd(22)} ${perSecond}${isOurs ? '' : `  ratio ${ratio.toFixed(2)}`}`)
  }
  if (lowest >= least) continue
  console.error(`${task}: below ${least} times the best of the others`)
  process.exitCode = 1
}
if (missing.length > 0) console.log(`not installed: npm install --no-save ${missing.join(' ')}`)
