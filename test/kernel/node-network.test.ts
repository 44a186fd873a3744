/** The network of the operating system where things can be arranged as it seldom shows them: in namespaces, from the built package. */

import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { requires } from '../requirements.ts'
import { KERNEL, KernelNet, type Node } from './namespaces.ts'

const BUILT = fileURLToPath(new URL('../../dist/net/', import.meta.url))

/** Runs with `network` and `Address` at hand; what it prints is a line of JSON each. */
const PROLOGUE = `
import { nodeNetwork } from '${BUILT}node/index.js'
import { Address } from '${BUILT}index.js'
const network = nodeNetwork()
const print = (value) => console.log(JSON.stringify(value))
`

interface Listed {
  readonly name: string
  readonly address: string
  readonly deprecated: boolean
  readonly temporary: boolean
  readonly internal: boolean
}

describe('the network of the operating system', requires({ ...KERNEL, also: { 'a build (npm run build)': existsSync(BUILT) } }), () => {
  let net: KernelNet
  let host: Node

  beforeEach(async () => {
    net = await KernelNet.create()
    host = await net.host('host')
  })

  afterEach(async () => {
    await net.close()
  })

  async function evaluate(node: Node, program: string): Promise<unknown> {
    const printed = await net.output(node, process.execPath, '--input-type=module', '-e', PROLOGUE + program)
    return JSON.parse(printed)
  }

  it('lists addresses with their flags, and those that can be bound alone', async () => {
    await net.output(host, 'ip', 'addr', 'add', '2a00:9::1/64', 'dev', 'eth0', 'nodad', 'preferred_lft', '0', 'valid_lft', '1000')
    const list = (await evaluate(host, 'print(network.interfaces.list())')) as Listed[]
    const of = (address: string) => list.find((entry) => entry.address === address)
    expect(of('[2a00:9::1]:0')).toMatchObject({ name: 'eth0', prefixLength: 64, deprecated: true, temporary: false, internal: false })
    expect(of(`[${host.ip6}]:0`)).toMatchObject({ deprecated: false })
    expect(of(`${host.ip4}:0`)).toMatchObject({ name: 'eth0', prefixLength: 24 })
    expect(list.some(({ address }) => /^\[fe80:.*%eth0\]:0$/.test(address))).toBe(true)
    expect(of('127.0.0.1:0')?.internal).toBe(true)
  })

  it('tells of an address that comes and one that goes', async () => {
    const child = net.exec(
      host,
      process.execPath,
      [
        '--input-type=module',
        '-e',
        `${PROLOGUE}
        network.interfaces.watch(() => print(network.interfaces.list().map(({ address }) => address.ip)))
        setInterval(() => {}, 1000)
        print([])`,
      ],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    )
    const lines = createInterface({ input: child.stdout! })[Symbol.asyncIterator]()
    const next = async (): Promise<string[]> => JSON.parse((await lines.next()).value as string) as string[]
    await next()
    await net.output(host, 'ip', 'addr', 'add', '10.9.9.9/24', 'dev', 'eth0')
    expect(await next()).toContain('10.9.9.9')
    await net.output(host, 'ip', 'addr', 'del', '10.9.9.9/24', 'dev', 'eth0')
    expect(await next()).not.toContain('10.9.9.9')
    const gone = once(child, 'exit')
    child.kill()
    await gone
  })

  it('finds the default routes of both families, and a VPN that took over ahead of them', async () => {
    const routes = 'print(await network.gateway.defaultRoutes())'
    expect(await evaluate(host, routes)).toEqual([
      { family: 4, name: 'eth0', gateway: `${host.ip4.replace(/\d+$/, '1')}:0` },
      { family: 6, name: 'eth0', gateway: `[${host.ip6.replace(/\d+$/, '1')}]:0` },
    ])
    await net.output(
      host,
      'sh',
      '-c',
      'ip link add tun0 type veth peer name tun1 && ip link set tun1 up && ip link set tun0 up && ip route add 0.0.0.0/1 dev tun0',
    )
    expect(((await evaluate(host, routes)) as unknown[])[0]).toEqual({ family: 4, name: 'tun0' })
  })

  it('finds no default route where there is none', async () => {
    await net.output(host, 'sh', '-c', 'ip route del default; ip -6 route del default')
    expect(await evaluate(host, 'print(await network.gateway.defaultRoutes())')).toEqual([])
  })

  it('reports that nothing leads there', async () => {
    await net.output(host, 'sh', '-c', 'ip route del default; ip -6 route del default')
    const failures = await evaluate(
      host,
      `const failures = []
      for (const [family, ip] of [[4, '8.8.8.8'], [6, '2a00:7::1']]) {
        const socket = await network.bind({ family })
        await new Promise((resolve) => {
          socket.handle({ datagram() {}, drained() {}, lost() {}, sendFailed(to, failure) { failures.push([to.ip, failure]); resolve() } })
          socket.send(new Uint8Array(1), Address.of(ip, 9), true)
        })
        socket.close()
      }
      print(failures)`,
    )
    expect(failures).toEqual([
      ['8.8.8.8', 'ENETUNREACH'],
      ['2a00:7::1', 'ENETUNREACH'],
    ])
  })

  it.each([4, 6] as const)(
    'counts hops: a datagram with too low a limit of IPv%i dies on the way, the next one arrives',
    async (family) => {
      const router = await net.router('home')
      const inside = await net.host('inside', { behind: router })
      const ip = family === 4 ? host.ip4 : host.ip6
      const listening = net.exec(
        host,
        process.execPath,
        [
          '--input-type=module',
          '-e',
          `${PROLOGUE}
        const socket = await network.bind({ family: ${family}, ip: '${ip}', port: 5000 })
        socket.handle({ datagram(data) { print([...data]) }, drained() {}, lost() {}, sendFailed() {} })
        print('bound')`,
        ],
        { stdio: ['ignore', 'pipe', 'inherit'] },
      )
      const lines = createInterface({ input: listening.stdout! })[Symbol.asyncIterator]()
      expect((await lines.next()).value).toBe('"bound"')
      await evaluate(
        inside,
        `const socket = await network.bind({ family: ${family} })
      // Two routers stand between: home and the core.
      for (const hops of [1, 2, 3]) {
        socket.setHopLimit(hops)
        socket.send(new Uint8Array([hops]), Address.of('${ip}', 5000))
      }
      socket.close()
      print(0)`,
      )
      expect((await lines.next()).value).toBe('[3]')
    },
  )

  it('speaks over link-local addresses, by their zone', async () => {
    const router = await net.router('home')
    const [a, b] = [await net.host('a', { behind: router }), await net.host('b', { behind: router })]
    const local = `network.interfaces.list().find(({ address }) => address.scope === 'link-local' && address.family === 6).address`
    const bound = `const own = ${local}
      const socket = await network.bind({ family: 6, ip: own.ip + '%' + own.zone, port: 6000 })`
    const listening = net.exec(
      b,
      process.execPath,
      [
        '--input-type=module',
        '-e',
        `${PROLOGUE}${bound}
        socket.handle({ datagram(data, from) { print(from) }, drained() {}, lost() {}, sendFailed() {} })
        print(socket.local)`,
      ],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    )
    const lines = createInterface({ input: listening.stdout! })[Symbol.asyncIterator]()
    const to = JSON.parse((await lines.next()).value as string) as string
    const from = await evaluate(
      a,
      `${bound}
      const [, ip] = /^\\[(.*)\\]/.exec('${to}')
      socket.send(new Uint8Array(1), Address.of(ip, 6000))
      socket.close()
      print(socket.local)`,
    )
    expect(to).toMatch(/^\[fe80:.*%eth0\]:6000$/)
    expect(JSON.parse((await lines.next()).value as string)).toBe(from)
  })
})
