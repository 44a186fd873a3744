// @ts-check
/**
 * One contestant in one process: `node client.js <task, JSON>`. Writes `{ event: 'ready' }` once it has loaded its package and answers knocks at the
 * port inside; maps for `map` on standard input, closes for `close`, and says `{ event: 'mapped' | 'closed' | 'failed', … }`.
 */
import { createSocket } from 'node:dgram'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { performance } from 'node:perf_hooks'
import { createInterface } from 'node:readline'
import { pathToFileURL } from 'node:url'

/**
 * @typedef {object} Task
 * @property {string} contestant
 * @property {string} folder where the packages are installed
 * @property {4 | 6} family
 * @property {string} router its address inside
 * @property {string} ip ours
 * @property {number} internalPort
 * @property {number} externalPort
 * @property {number} lease seconds
 */

/**
 * What was mapped; the port as far as it is told.
 * @typedef {{ port?: number | undefined, protocol?: string, close(): Promise<void> | void }} Mapped
 */

/** @type {Record<string, (task: Task) => Promise<() => Promise<Mapped>>>} */
const CLIENTS = {
  sallyport,
  'nat-port-mapper, UPnP': natPortMapperUpnp,
  'nat-port-mapper, NAT-PMP': natPortMapperPmp,
  'nat-api': (task) => natApi(task, false),
  'nat-api, NAT-PMP': (task) => natApi(task, true),
  'nat-upnp': natUpnp,
  'nat-pmp': natPmp,
}

/** @param {Task} task */
async function sallyport({ internalPort, externalPort, family, lease }) {
  const { mapPort } = await import('../../dist/port-mapping.js')
  return async () => {
    // It asks for no less than two minutes; the router gives as little as it is told to.
    const mapping = await mapPort({ internalPort, externalPort, family, lifetime: Math.max(120_000, 1_000 * lease) })
    return { port: mapping.externalPort, protocol: mapping.via, close: () => mapping.close() }
  }
}

/** @param {Task} task @param {string} name */
async function load({ folder }, name) {
  const require = createRequire(join(folder, 'package.json'))
  try {
    return require(name)
  } catch (error) {
    if (!(error instanceof Error) || !('code' in error) || error.code !== 'ERR_PACKAGE_PATH_NOT_EXPORTED') throw error
    return import(pathToFileURL(join(folder, 'node_modules', name, 'dist', 'src', 'index.js')).href)
  }
}

/** @param {Task} task */
async function natPortMapperUpnp(task) {
  const { upnpNat } = await load(task, '@achingbrain/nat-port-mapper')
  const { internalPort, externalPort, lease, ip, family } = task
  return async () => {
    for await (const gateway of upnpNat().findGateways()) {
      if (gateway.family !== `IPv${family}`) continue
      const { externalPort: port } = await gateway.map(internalPort, ip, { protocol: 'udp', externalPort, ttl: 1_000 * lease })
      return { port, close: () => gateway.stop() }
    }
    throw new Error('no gateway')
  }
}

/** @param {Task} task */
async function natPortMapperPmp(task) {
  const { pmpNat } = await load(task, '@achingbrain/nat-port-mapper')
  const { internalPort, externalPort, lease, ip, router } = task
  return async () => {
    const gateway = pmpNat(router)
    const { externalPort: port } = await gateway.map(internalPort, ip, { protocol: 'udp', externalPort, ttl: 1_000 * lease })
    return { port, close: () => gateway.stop() }
  }
}

/** @param {Task} task @param {boolean} enablePMP before UPnP; off by default there */
async function natApi(task, enablePMP) {
  const NatApi = await load(task, 'nat-api')
  const { internalPort, externalPort, lease } = task
  return async () => {
    const client = new NatApi({ enablePMP, ttl: lease })
    const mapping = { publicPort: externalPort, privatePort: internalPort, protocol: 'UDP', ttl: lease }
    await called((done) => client.map(mapping, done))
    return { close: () => called((done) => client.destroy(done)) }
  }
}

/** @param {Task} task */
async function natUpnp(task) {
  const { createClient } = await load(task, 'nat-upnp')
  const { internalPort, externalPort, lease } = task
  return async () => {
    const client = createClient()
    await called((done) => client.portMapping({ public: externalPort, private: internalPort, protocol: 'UDP', ttl: lease }, done))
    return {
      close: async () => {
        await called((done) => client.portUnmapping({ public: externalPort, protocol: 'UDP' }, done))
        client.close()
      },
    }
  }
}

/** @param {Task} task */
async function natPmp(task) {
  const { connect } = await load(task, 'nat-pmp')
  const { internalPort, externalPort, lease, router } = task
  return async () => {
    const client = connect(router)
    const wanted = { private: internalPort, public: externalPort, type: 'udp', ttl: lease }
    const { public: port } = await called((done) => client.portMapping(wanted, done))
    return {
      port,
      close: async () => {
        await called((done) => client.portUnmapping({ ...wanted, public: port }, done))
        client.close()
      },
    }
  }
}

/** @param {(done: (error?: Error | null, result?: any) => void) => void} start @returns {Promise<any>} */
function called(start) {
  return new Promise((resolve, reject) => start((error, result) => (error ? reject(error) : resolve(result))))
}

/** @param {object} line */
const print = (line) => void process.stdout.write(`${JSON.stringify(line)}\n`)

/** @param {unknown} error */
const fail = (error) => print({ event: 'failed', why: error instanceof Error ? error.message : String(error) })

/** @type {Task} */
const task = JSON.parse(process.argv[2] ?? '{}')
const map = await CLIENTS[task.contestant]?.(task)
if (map === undefined) throw new TypeError(`${task.contestant}: nobody we know`)

const socket = createSocket(task.family === 6 ? 'udp6' : 'udp4')
socket.on('message', (data, { port, address }) => socket.send(data, port, address))
socket.bind(task.internalPort, task.ip, () => print({ event: 'ready' }))

/** @type {Mapped | undefined} */
let mapped
for await (const order of createInterface({ input: process.stdin })) {
  try {
    if (order === 'map') {
      const from = performance.now()
      mapped = await map()
      print({ event: 'mapped', ms: performance.now() - from, port: mapped.port, protocol: mapped.protocol })
    } else {
      await mapped?.close()
      print({ event: 'closed' })
    }
  } catch (error) {
    fail(error)
  }
}
