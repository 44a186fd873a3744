import { afterEach, describe, expect, it } from 'vitest'
import type { DatagramSocket } from '../../../src/net/index.ts'
import { canReusePort, nodeNetwork } from '../../../src/net/node/index.ts'
import { requiresSharedPorts } from '../../requirements.ts'

const network = nodeNetwork()
const open: DatagramSocket[] = []

afterEach(() => {
  for (const socket of open.splice(0)) socket.close()
})

async function bind(port: number): Promise<DatagramSocket> {
  const socket = await network.bind({ family: 4, ip: '127.0.0.1', port, reusePort: true })
  open.push(socket)
  return socket
}

it('whether ports can be shared is what binding twice shows', async () => {
  const { local } = await bind(0)
  const second = await bind(local.port).then(
    () => true,
    (error: { code?: string }) => error.code !== 'ERR_BIND',
  )
  expect(second).toBe(await canReusePort())
})

describe('sockets that share a port', await requiresSharedPorts(), () => {
  it('each get all that comes from one address', async () => {
    const first = await bind(0)
    const second = await bind(first.local.port)
    const clients = await Promise.all(Array.from({ length: 32 }, () => network.bind({ family: 4, ip: '127.0.0.1' })))
    open.push(...clients)
    const heard = new Map<string, Set<DatagramSocket>>()
    let count = 0
    await new Promise<void>((resolve) => {
      for (const socket of [first, second]) {
        socket.handle({
          datagram(_data, from) {
            const by = heard.get(from.key) ?? new Set()
            heard.set(from.key, by.add(socket))
            if (++count === 3 * clients.length) resolve()
          },
          sendFailed: () => {},
          drained: () => {},
          lost: () => {},
        })
      }
      for (let i = 0; i < 3; i++) for (const client of clients) client.send(new Uint8Array(1), first.local)
    })
    expect([...heard.values()].every((by) => by.size === 1)).toBe(true)
    expect(new Set([...heard.values()].flatMap((by) => [...by])).size).toBe(2)
  })
})
