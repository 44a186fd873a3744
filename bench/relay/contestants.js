// @ts-check
/**
 * What carries datagrams from one loopback port to another, each in processes of its own, on a core of its own if one is given: our server,
 * coturn, the bare forwarder. All are used in the same way: `flows` sets up what the generator then sends on.
 */
import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { allocateFlows, boundAnywhere, freePorts, LOOPBACK, TurnClient, USER } from './turn.js'

/**
 * @typedef {import('node:child_process').ChildProcess} Child
 * @typedef {{ texts: readonly string[], free(): Promise<void> }} Flows what load.c takes, and how to take it down again
 * @typedef {{ pids: readonly number[], servers: readonly number[], flows(count: number): Promise<Flows>, stop(): Promise<void> }} Contestant
 */

/** Words that start a program on one core, if one is given. @param {number | undefined} core @param {readonly string[]} words */
export function pinned(core, words) {
  return core === undefined ? words : ['taskset', '-c', String(core), ...words]
}

/** @param {number | undefined} core @param {readonly string[]} words @param {import('node:child_process').StdioOptions} stdio @returns {Child} */
function start(core, words, stdio) {
  const [command = '', ...rest] = pinned(core, words)
  const child = spawn(command, rest, { stdio })
  // Also when the bench breaks off: not all of them notice.
  process.on('exit', () => child.kill('SIGKILL'))
  return child
}

/** @param {number | undefined} core @param {string} file @param {readonly string[]} words */
const startNode = (core, file, ...words) =>
  start(core, [process.execPath, fileURLToPath(new URL(file, import.meta.url)), ...words], ['ignore', 'inherit', 'inherit', 'ipc'])

/** @param {Child} child @returns {Promise<any>} what it says next */
function answer(child) {
  return new Promise((resolve, reject) => {
    /** @param {number | null} code */
    const gone = (code) => reject(new Error(`${child.spawnargs.join(' ')} left with ${code}`))
    child.once('exit', gone)
    child.once('message', (message) => {
      child.off('exit', gone)
      resolve(message)
    })
  })
}

/** @param {Child} child */
async function stop(child) {
  if (child.exitCode !== null || child.signalCode !== null) return
  const left = new Promise((resolve) => child.once('exit', resolve))
  child.kill('SIGKILL')
  await left
}

/** @param {readonly Child[]} children @param {readonly number[]} servers @returns {Contestant} */
function turn(children, servers) {
  return {
    pids: children.map(({ pid }) => pid ?? 0),
    servers,
    flows: (count) => allocateFlows(servers, count),
    stop: async () => void (await Promise.all(children.map(stop))),
  }
}

/** @param {number} [core] @param {number} [workers] @param {boolean} [reusePort] one port for all workers, not one for each */
export async function startOurs(core, workers = 1, reusePort = false) {
  const ports = await freePorts(reusePort ? 1 : workers)
  const children = Array.from({ length: workers }, (_, i) =>
    startNode(core, 'server.js', String(ports[reusePort ? 0 : i]), ...(reusePort ? ['reuse'] : [])),
  )
  await Promise.all(children.map(answer))
  return turn(children, ports)
}

/** One relay thread; on one core it makes no difference. @param {number} [core] */
export async function startCoturn(core) {
  const [port = 0] = await freePorts(1)
  const folder = mkdtempSync(join(tmpdir(), 'coturn-'))
  const child = start(
    core,
    [
      'turnserver',
      ...['-n', '-m', '1', '-L', LOOPBACK, '-E', LOOPBACK, '-p', String(port), '--allow-loopback-peers', '--lt-cred-mech'],
      ...['-u', `${USER.username}:${USER.password}`, '-r', USER.realm, '--userdb', join(folder, 'users'), '--pidfile', join(folder, 'pid')],
      ...['--no-tcp', '--no-tls', '--no-dtls', '--no-cli', '--no-rfc5780', '--no-stdout-log', '--log-file', join(folder, 'log')],
      ...['--min-port', '49152', '--max-port', '65535'],
    ],
    'ignore',
  )
  const contestant = turn([child], [port])
  await answers(port)
  const leave = contestant.stop
  return {
    ...contestant,
    stop: async () => {
      await leave()
      rmSync(folder, { recursive: true })
    },
  }
}

/** It says nowhere that it is there. @param {number} port */
async function answers(port) {
  const socket = await boundAnywhere()
  try {
    const client = new TurnClient(socket, port)
    await client.allocate()
    await client.free()
  } finally {
    socket.close()
  }
  await sleep(100)
}

/** Serves one flow at a time. @param {number | undefined} core @param {'bare' | 'net'} kind on node:dgram itself, or through our sockets */
export async function startForwarder(core, kind) {
  const child = startNode(core, 'forwarder.js', kind)
  const { server, relay } = await answer(child)
  return {
    pids: [child.pid ?? 0],
    servers: [],
    flows: async () => {
      const [client = 0, peer = 0] = await freePorts(2)
      child.send({ client, peer })
      await answer(child)
      return { texts: [`${client}:${server}:${peer}:${relay}:0`], free: async () => {} }
    },
    stop: () => stop(child),
  }
}

/** Nothing in between: what the generator and the kernel cost alone. @returns {Promise<Contestant>} */
export async function startDirect() {
  return {
    pids: [],
    servers: [],
    flows: async () => {
      const [client = 0, peer = 0] = await freePorts(2)
      return { texts: [`${client}:${peer}:${peer}:${client}:0`], free: async () => {} }
    },
    stop: async () => {},
  }
}
