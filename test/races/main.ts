/**
 * Any number of schedules over several threads: `npm run races -- 1000000`. Prints where it is, every failure with what brings it back, and
 * ends with 1 if there was one. `npm run races -- --seed 7 --path 12:0:3` runs one again. One batch in three has relays; with `--relays` all have,
 * and with `--no-relays` none has.
 */
import { availableParallelism } from 'node:os'
import { parseArgs } from 'node:util'
import { Worker } from 'node:worker_threads'
import { campaign } from './campaign.ts'

/** Schedules of one seed. */
const BATCH = 500
/** Milliseconds between two lines of progress, and after which a thread without a word hangs: shrinking takes its time. */
const PROGRESS = 10_000
const HANGS = 900_000

const { values, positionals } = parseArgs({
  allowPositionals: true,
  allowNegative: true,
  options: { seed: { type: 'string' }, path: { type: 'string' }, threads: { type: 'string' }, relays: { type: 'boolean' } },
})

const firstSeed = values.seed === undefined ? Date.now() % 0x7fff_0000 : Number(values.seed)

if (values.path !== undefined) {
  const failure = await campaign({ runs: BATCH, seed: firstSeed, path: values.path, relayed: values.relays === true })
  console.log(failure ?? 'everything held')
  process.exitCode = failure === undefined ? 0 : 1
} else {
  const failures = await run(Number(positionals[0] ?? 10_000), Number(values.threads ?? availableParallelism()))
  process.exitCode = failures === 0 ? 0 : 1
}

/** Returns how many batches failed; a batch ends with its first failure. */
async function run(total: number, threads: number): Promise<number> {
  const batches = Math.ceil(total / BATCH)
  let [given, done, failed] = [0, 0, 0]
  const start = process.hrtime.bigint()
  const report = (): void => {
    const seconds = Number(process.hrtime.bigint() - start) / 1e9
    const rate = (done * BATCH) / seconds
    const left = rate === 0 ? '' : `, ${Math.round(((batches - done) * BATCH) / rate)} s left`
    console.log(`${done * BATCH} of ${batches * BATCH} schedules, ${failed} failed, ${rate.toFixed(0)} a second${left}`)
  }
  console.log(`${batches * BATCH} schedules in ${batches} batches on ${threads} threads, seeds from ${firstSeed}`)
  const progress = setInterval(report, PROGRESS)
  const work = async (): Promise<void> => {
    let worker: Worker | undefined
    while (given < batches) {
      const seed = firstSeed + given++
      worker ??= new Worker(new URL('./worker.js', import.meta.url))
      try {
        const failure = await answer(worker, seed)
        if (failure !== undefined) {
          failed++
          console.log(`\nFAILED ${failure}\n`)
        }
      } catch (error) {
        failed++
        console.log(`\nFAILED seed ${seed}: ${(error as Error).stack}\n`)
        await worker.terminate()
        worker = undefined
      }
      done++
    }
    await worker?.terminate()
  }
  await Promise.all(Array.from({ length: Math.min(threads, batches) }, work))
  clearInterval(progress)
  report()
  return failed
}

/** What a thread says to one batch. Rejects when it breaks down or hangs. */
function answer(worker: Worker, seed: number): Promise<string | undefined> {
  return new Promise((resolve, reject) => {
    const hangs = setTimeout(() => settle(() => reject(new Error('no answer: something hangs'))), HANGS)
    const answered = (failure: string | undefined): void => settle(() => resolve(failure))
    const broke = (error: Error): void => settle(() => reject(error))
    const settle = (tell: () => void): void => {
      clearTimeout(hangs)
      worker.off('message', answered)
      worker.off('error', broke)
      tell()
    }
    worker.on('message', answered)
    worker.on('error', broke)
    worker.postMessage({ runs: BATCH, seed, relayed: values.relays ?? seed % 3 === 0 })
  })
}
