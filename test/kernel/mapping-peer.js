// @ts-check
/**
 * A port of this host mapped by `sallyport/pmp`: `node mapping-peer.js <options of mapPort, JSON>`. Answers what comes to the internal port. Writes
 * `{ event: 'mapped' | 'change' | 'lost' | 'failed' | 'closed', at, … }`, `at` in milliseconds since 1970. With `verify: true` it writes
 * `{ verify: id, address, port }` and takes `{ id, arrived }` on standard input for the answer. Closes when standard input ends.
 */
import { createSocket } from 'node:dgram'
import { performance } from 'node:perf_hooks'
import { createInterface } from 'node:readline'
import { mapPort } from '../../dist/port-mapping.js'

const { verify, ...options } = JSON.parse(process.argv[2] ?? '{}')

/** @type {Map<number, (arrived: boolean) => void>} */
const questions = new Map()
let asked = 0

/** @param {{ address: string | undefined, port: number }} external @returns {Promise<boolean>} */
function ask(external) {
  return new Promise((resolve) => {
    questions.set(++asked, resolve)
    print({ verify: asked, ...external })
  })
}

/** @param {object} line */
function print(line) {
  process.stdout.write(`${JSON.stringify({ ...line, at: performance.timeOrigin + performance.now() })}\n`)
}

/** @param {import('../../dist/port-mapping.js').PortMapping} mapping */
function tell({ externalAddress, externalPort, via, router, expiresIn, verified }) {
  return { address: externalAddress, port: externalPort, via, router, expiresIn, verified }
}

const socket = createSocket(options.family === 6 ? 'udp6' : 'udp4')
socket.on('message', (data, { port, address }) => socket.send(data, port, address))
await new Promise((resolve) => socket.bind(options.internalPort, () => resolve(undefined)))

const input = createInterface({ input: process.stdin })
input.on('line', (line) => {
  const { id, arrived } = JSON.parse(line)
  questions.get(id)?.(arrived)
})
const ended = new Promise((resolve) => input.once('close', resolve))

try {
  const mapping = await mapPort({ ...options, ...(verify ? { verify: ask } : {}) })
  print({ event: 'mapped', ...tell(mapping) })
  mapping.on('change', () => print({ event: 'change', ...tell(mapping) }))
  mapping.on('lost', ({ code, message }) => print({ event: 'lost', code, message }))
  await ended
  await mapping.close()
  print({ event: 'closed' })
} catch (error) {
  if (!(error instanceof Error)) throw error
  print({ event: 'failed', code: 'code' in error ? error.code : undefined, message: error.message })
}
socket.close()
input.close()
process.stdin.destroy()
