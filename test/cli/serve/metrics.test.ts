import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, expect, it } from 'vitest'
import { Attribute, Method } from '../../../src/stun/index.ts'
import { Program } from '../peers.ts'
import { echoPeer, TurnClient } from './turn-client.ts'

const root = new URL('../../../', import.meta.url)
const programs: Program[] = []

afterEach(async () => {
  for (const program of programs.splice(0)) {
    program.kill('SIGKILL')
    await program.exit
  }
})

async function start(...args: readonly string[]): Promise<{ readonly udp: string; readonly url: string }> {
  const server = Program.sallyport('serve', '--json', '--address', '127.0.0.1', '--port', '0', '--metrics', '0', ...args)
  programs.push(server)
  const { listening, metrics } = (await server.json('listening')) as unknown as { listening: string[]; metrics: string }
  return { udp: listening[0] ?? '', url: metrics }
}

/** The values of a scrape, by name and labels. */
async function scrape(url: string): Promise<ReadonlyMap<string, number>> {
  const response = await fetch(url)
  expect(response.status).toBe(200)
  expect(response.headers.get('content-type')).toContain('text/plain; version=0.0.4')
  const lines = (await response.text()).split('\n').filter((line) => line !== '' && !line.startsWith('#'))
  return new Map(lines.map((line) => [line.slice(0, line.lastIndexOf(' ')), Number(line.slice(line.lastIndexOf(' ') + 1))]))
}

it('the numbers of a relay move with what it does', async () => {
  const { udp, url } = await start('--user', 'alice:secret1', '--allow-private-peers')
  expect(url).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/metrics$/)
  const before = await scrape(url)
  for (const name of ['allocations{transport="udp"}', 'allocations_created_total', 'packets_total{direction="to_peer"}', 'draining']) {
    expect(before.get(`sallyport_relay_${name}`)).toBe(0)
  }
  const peer = await echoPeer()
  const alice = await TurnClient.udp(udp, 'alice', 'secret1')
  const mallory = await TurnClient.udp(udp, 'alice', 'wrong')
  await alice.allocate()
  await alice.permit(peer.local)
  alice.send('hello', peer.local)
  await alice.receive()
  await mallory.allocate()
  await mallory.request(Method.Binding, (writer) => writer.text(Attribute.Software, 'test'))
  const during = await scrape(url)
  const relay = (name: string): number | undefined => during.get(`sallyport_relay_${name}`)
  expect(relay('allocations{transport="udp"}')).toBe(1)
  expect(relay('users')).toBe(1)
  expect(relay('permissions')).toBe(1)
  expect(relay('allocations_created_total')).toBe(1)
  expect(relay('packets_total{direction="to_peer"}')).toBe(1)
  expect(relay('packets_total{direction="to_client"}')).toBe(1)
  expect(relay('bytes_total{direction="to_peer"}')).toBe(5)
  expect(relay('authentication_failures_total')).toBe(1)
  expect(relay('errors_total{code="401"}')).toBe(3) // a first request each, and the wrong password
  expect(relay('bindings_total')).toBe(1)
  expect(during.get('process_resident_memory_bytes')).toBeGreaterThan(0)
  await alice.refresh(0)
  const after = await scrape(url)
  expect(after.get('sallyport_relay_allocations{transport="udp"}')).toBe(0)
  expect(after.get('sallyport_relay_allocations_created_total')).toBe(1)
  for (const client of [alice, mallory]) client.close()
  peer.close()
})

it('a STUN server has metrics too', async () => {
  const { udp, url } = await start()
  const client = await TurnClient.udp(udp, 'nobody', 'none')
  await client.request(Method.Binding, (writer) => writer.text(Attribute.Software, 'test'))
  client.close()
  const values = await scrape(url)
  expect(values.get('sallyport_stun_requests_total')).toBe(1)
  expect(values.get('sallyport_stun_answers_total{class="success"}')).toBe(1)
  expect([...values.keys()].some((name) => name.startsWith('sallyport_relay'))).toBe(false)
})

it('there is nothing but /metrics, and nothing to do but look', async () => {
  const { url } = await start()
  expect((await fetch(new URL('/', url))).status).toBe(404)
  expect((await fetch(url, { method: 'POST' })).status).toBe(405)
})

it('a port that is taken is told of, with exit code 1', async () => {
  const { url } = await start()
  const second = Program.sallyport('serve', '--address', '127.0.0.1', '--port', '0', '--metrics', new URL(url).port)
  expect(await second.exit).toBe(1)
  expect(second.errors).toContain('no metrics at 127.0.0.1')
})

it('without the package it says what to install, before it opens anything', async () => {
  // The built command where nothing but what it depends on is installed.
  const folder = mkdtempSync(join(tmpdir(), 'no-prometheus-'))
  try {
    cpSync(fileURLToPath(new URL('dist', root)), join(folder, 'dist'), { recursive: true })
    cpSync(fileURLToPath(new URL('package.json', root)), join(folder, 'package.json'))
    for (const name of ['@noble/hashes', 'debug', 'ms', 'ip-address']) {
      const place = join(folder, 'node_modules', name)
      mkdirSync(dirname(place), { recursive: true })
      symlinkSync(fileURLToPath(new URL(`node_modules/${name}`, root)), place)
    }
    const main = join(folder, 'dist/cli/main.js')
    const without = new Program(main, ['serve', '--address', '127.0.0.1', '--port', '0', '--metrics', '0'])
    expect(await without.exit).toBe(1)
    expect(without.errors).toContain('npm install prom-client')
    expect(without.lines).toEqual([])
    // All else works without it.
    const plain = new Program(main, ['serve', '--json', '--address', '127.0.0.1', '--port', '0'])
    await plain.json('listening')
    plain.kill('SIGTERM')
    expect(await plain.exit).toBe(0)
  } finally {
    rmSync(folder, { recursive: true })
  }
})
