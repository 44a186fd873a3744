import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { Address, type TlsIdentity } from '../../../../src/net/index.ts'
import { canReusePort } from '../../../../src/net/node/index.ts'
import { makeIdentity } from '../../../net/tls-identity.ts'
import { requires, requiresSharedPorts } from '../../../requirements.ts'
import { type Line, Program } from '../../peers.ts'
import { resources } from '../resources.ts'
import { echoPeer, TurnClient } from '../turn-client.ts'

const shared = await canReusePort()
const { programs, clients, peers } = resources()

interface Worker {
  readonly worker: number
  readonly pid: number
  readonly udp: readonly string[]
}

interface Pool {
  readonly server: Program
  readonly workers: readonly Worker[]
  readonly listening: readonly string[]
  readonly tls: readonly string[]
  readonly metrics: string
}

async function start(count: number, ...args: readonly string[]): Promise<Pool> {
  const common = ['--json', '--address', '127.0.0.1', '--port', '0', '--user', 'alice:secret1', '--metrics', '0']
  const server = Program.sallyport('serve', ...common, '--workers', `${count}`, ...args)
  programs.push(server)
  return { server, ...((await server.json('listening')) as unknown as Omit<Pool, 'server'>) }
}

interface Held {
  readonly client: TurnClient
  readonly relayed: Address
  /** From 1. */
  readonly worker: number
}

/** A client with an allocation, wherever its address leads to. */
async function hold(pool: Pool, at: string): Promise<Held> {
  const client = await TurnClient.udp(at, 'alice', 'secret1')
  clients.push(client)
  const relayed = await client.allocate()
  if (!(relayed instanceof Address)) throw new Error(`refused: ${relayed}`)
  const { worker } = await event(pool.server, 'allocation-created', (line) => line.client === client.local.key)
  return { client, relayed, worker: worker as number }
}

/** A client of this worker. */
async function holdOn(pool: Pool, worker: number): Promise<Held> {
  const at = pool.workers[worker - 1]?.udp[0] ?? ''
  for (;;) {
    const held = await hold(pool, at)
    if (held.worker === worker) return held
    await release(pool, held)
  }
}

async function release({ server }: Pool, { client, relayed }: Held): Promise<void> {
  expect(await client.refresh(0)).toBeUndefined()
  await event(server, 'allocation-deleted', (line) => (line.relayed as readonly string[]).includes(relayed.key))
}

async function echoes({ client }: Held): Promise<void> {
  const peer = await echoPeer()
  peers.push(peer)
  expect(await client.permit(peer.local)).toBeUndefined()
  client.send('there and back', peer.local)
  expect(await client.receive()).toEqual({ text: 'there and back', from: peer.local })
}

function event(server: Program, name: string, fits: (line: Line) => boolean = () => true): Promise<Line> {
  return server.find((line) => {
    const value = JSON.parse(line) as Line
    return value.event === name && fits(value) ? value : undefined
  })
}

function kill({ workers }: Pool, worker: number): void {
  process.kill(workers[worker - 1]?.pid ?? 0, 'SIGKILL')
}

async function scrape({ metrics }: Pool, name: string): Promise<number> {
  const text = await (await fetch(metrics)).text()
  return Number(new RegExp(`^sallyport_${name} (\\S+)$`, 'm').exec(text)?.[1])
}

describe('a relay of several workers', () => {
  it('listens on one port where ports can be shared, and on one for each worker where not', async () => {
    const { workers, listening } = await start(3)
    expect(workers.map(({ worker }) => worker)).toEqual([1, 2, 3])
    expect(new Set(workers.map(({ pid }) => pid)).size).toBe(3)
    expect(new Set(workers.map(({ udp }) => udp[0])).size).toBe(shared ? 1 : 3)
    expect(listening).toHaveLength(shared ? 1 : 3)
  })

  it('relays on each of them, with ports for relayed addresses that do not meet', async () => {
    const pool = await start(2, '--allow-private-peers', '--relay-ports', '50200-50219')
    const [first, second] = [await holdOn(pool, 1), await holdOn(pool, 2)]
    expect(first.relayed.port >= 50_200 && first.relayed.port <= 50_209).toBe(true)
    expect(second.relayed.port >= 50_210 && second.relayed.port <= 50_219).toBe(true)
    await echoes(first)
    await echoes(second)
  })

  it('counts quotas for all of them together', async () => {
    const pool = await start(2, '--max-user-allocations', '2')
    const first = await holdOn(pool, 1)
    await holdOn(pool, 2)
    const third = await TurnClient.udp(pool.workers[1]?.udp[0] ?? '', 'alice', 'secret1')
    clients.push(third)
    expect(await third.allocate()).toBe(486)
    await release(pool, first)
    expect(await third.allocate()).toBeInstanceOf(Address)
  })

  it('lets a client of one reach the relayed address of a client of another, and nothing else of this machine', async () => {
    const pool = await start(2)
    const [first, second] = [await holdOn(pool, 1), await holdOn(pool, 2)]
    expect(await first.client.permit(second.relayed)).toBeUndefined()
    expect(await second.client.permit(first.relayed)).toBeUndefined()
    first.client.send('from relay to relay', second.relayed)
    expect(await second.client.receive()).toEqual({ text: 'from relay to relay', from: first.relayed })
    expect(await first.client.permit(second.relayed.withPort(9))).toBe(403)
    await release(pool, second)
    expect(await first.client.permit(second.relayed)).toBe(403)
  })

  it('takes nonces of one that died: they share the secret', async () => {
    const pool = await start(2)
    const { client } = await holdOn(pool, 1)
    kill(pool, 1)
    await event(pool.server, 'worker-started')
    expect(await client.allocate()).toBeInstanceOf(Address)
    expect(await scrape(pool, 'relay_errors_total{code="438"}')).toBeNaN()
  })

  it('starts one again that was killed, while the others relay on and its quota is given back', async () => {
    const pool = await start(2, '--allow-private-peers', '--max-user-allocations', '2')
    const [, second] = [await holdOn(pool, 1), await holdOn(pool, 2)]
    const before = await scrape(pool, 'relay_allocations_created_total')
    expect(before).toBeGreaterThanOrEqual(2)
    kill(pool, 1)
    expect(await event(pool.server, 'worker-exited')).toMatchObject({ worker: 1, pid: pool.workers[0]?.pid, how: 'SIGKILL' })
    if (!shared) await echoes(second)
    const { pid } = await event(pool.server, 'worker-started')
    expect(pid).not.toBe(pool.workers[0]?.pid)
    await echoes(second)
    expect(await second.client.refresh(600)).toBeUndefined()
    await holdOn(pool, 1)
    // What the dead one counted is not forgotten.
    expect(await scrape(pool, 'relay_allocations_created_total')).toBeGreaterThan(before)
    expect(await scrape(pool, 'worker_restarts_total')).toBe(1)
    expect(await scrape(pool, 'workers')).toBe(2)
  })

  it('drains them all on SIGTERM, and none leaves before the last is done', async () => {
    const pool = await start(2, '--allow-private-peers')
    const held = await holdOn(pool, 1)
    pool.server.kill('SIGTERM')
    expect(await event(pool.server, 'draining')).toMatchObject({ allocations: 1 })
    for (const { udp } of pool.workers) {
      const late = await TurnClient.udp(udp[0] ?? '', 'alice', 'secret1')
      clients.push(late)
      expect(await late.allocate()).toBe(508)
    }
    await echoes(held)
    await held.client.refresh(0)
    expect(await pool.server.exit).toBe(0)
    expect(pool.server.all('event').some((line) => line.event === 'worker-exited')).toBe(false)
  })

  it('ends at once on SIGINT, with all its processes', async () => {
    const pool = await start(2)
    await holdOn(pool, 1)
    pool.server.kill('SIGINT')
    expect(await pool.server.exit).toBe(0)
    for (const { pid } of pool.workers) expect(() => process.kill(pid, 0)).toThrow()
  })

  it('leaves no process behind when the parent is killed', async () => {
    const pool = await start(2)
    pool.server.kill('SIGKILL')
    // Standard error is theirs too, and is awaited: it closes with the last of them.
    expect(await pool.server.exit).toBe('SIGKILL')
  })

  it('does not start when one of them cannot, and says why', async () => {
    const other = await start(1)
    const port = other.listening[0]?.split(':')[1] ?? ''
    const taken = Program.sallyport('serve', '--address', '127.0.0.1', '--port', port, '--user', 'a:b', '--alternate-port', '0')
    expect(await taken.exit).toBe(1)
    if (shared) return
    const pool = Program.sallyport('serve', '--address', '127.0.0.1', '--port', port, '--user', 'a:b', '--workers', '2')
    expect(await pool.exit).toBe(1)
    expect(pool.errors).toContain(port)
  })

  it('says of a wrong option what this process would', async () => {
    const pool = Program.sallyport('serve', '--address', '127.0.0.1', '--user', 'a:b', '--realm', 'x'.repeat(200), '--workers', '2')
    expect(await pool.exit).toBe(2)
    expect(pool.errors).toContain('realm must have 1 to 127 characters')
  })
})

describe('a relay of several workers with TLS', requires({ commands: { openssl: 'openssl' } }), () => {
  it('takes another certificate at all of them by SIGHUP, and those started later have it', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'tls-'))
    try {
      const [old, renewed] = [makeIdentity('old.test'), makeIdentity('new.test')]
      const [certFile, keyFile] = [join(folder, 'cert.pem'), join(folder, 'key.pem')]
      const write = ({ cert, key }: TlsIdentity): void => {
        writeFileSync(certFile, cert)
        writeFileSync(keyFile, key)
      }
      write(old)
      const pool = await start(2, '--tls-cert', certFile, '--tls-key', keyFile, '--tls-port', '0')
      write(renewed)
      pool.server.kill('SIGHUP')
      await event(pool.server, 'renewed')
      const dial = async (): Promise<void> => {
        for (const address of pool.tls) {
          const client = await TurnClient.stream(address, 'alice', 'secret1', { serverName: 'new.test', ca: renewed.cert })
          clients.push(client)
          expect(await client.allocate()).toBeInstanceOf(Address)
        }
      }
      await dial()
      kill(pool, 1)
      await event(pool.server, 'worker-started')
      await dial()
    } finally {
      rmSync(folder, { recursive: true })
    }
  })
})

describe('workers on one port', await requiresSharedPorts(), () => {
  it('get back to their clients after one of them was killed', async () => {
    const pool = await start(3, '--allow-private-peers')
    const held = await Promise.all(Array.from({ length: 24 }, () => hold(pool, pool.listening[0] ?? '')))
    const others = held.filter(({ worker }) => worker !== 1)
    expect(new Set(held.map(({ worker }) => worker)).size).toBe(3)
    kill(pool, 1)
    await event(pool.server, 'worker-started')
    // The kernel had given places, and with them clients, to others meanwhile.
    for (const one of others) await echoes(one)
    for (const { client } of others) expect(await client.refresh(600)).toBeUndefined()
  })
})
