/** Names under `.local` over real multicast, on this machine's loopback: the package answers as well as it asks. */
import makeMulticastDns, { type MulticastDNS, type QueryPacket } from 'multicast-dns'
import { afterEach, describe, expect, it } from 'vitest'
import { Address, type InterfaceAddress, type Interfaces } from '../../../src/net/index.ts'
import { LocalNames } from '../../../src/net/node/local-names.ts'

const LOOPBACK: InterfaceAddress = {
  name: 'lo',
  address: Address.of('127.0.0.1', 0),
  prefixLength: 8,
  internal: true,
  temporary: false,
  deprecated: false,
}
const interfaces: Interfaces = { list: () => [LOOPBACK], watch: () => () => {} }
const from = [LOOPBACK.address]
const signal = (): AbortSignal => AbortSignal.any([])

let sockets: MulticastDNS[] = []

afterEach(async () => {
  await Promise.all(sockets.map((socket) => new Promise<void>((resolve) => socket.destroy(resolve))))
  sockets = []
})

/** Answers on loopback; the test says what. Resolves when it listens. */
function responder(answer: (query: QueryPacket, socket: MulticastDNS) => void): Promise<MulticastDNS> {
  const socket = makeMulticastDns({ interface: '127.0.0.1', bind: '0.0.0.0' })
  sockets.push(socket)
  socket.on('query', (query) => answer(query, socket))
  return new Promise((resolve) => socket.on('ready', () => resolve(socket)))
}

function asks(query: QueryPacket, name: string): boolean {
  return query.questions?.some((question) => question.name === name && question.type === 'A') === true
}

/** Counts the sockets that are open. */
function counting(): { make: typeof makeMulticastDns; open: () => number; made: () => number } {
  let open = 0
  let made = 0
  const make: typeof makeMulticastDns = (options) => {
    const socket = makeMulticastDns(options)
    open++
    made++
    const { destroy } = socket
    socket.destroy = (callback) => {
      open--
      destroy(callback)
    }
    return socket
  }
  return { make, open: () => open, made: () => made }
}

describe('names under .local', () => {
  it('are answered by whoever has them, whatever the case', async () => {
    await responder((query, socket) => {
      if (asks(query, 'here.local')) socket.respond([{ name: 'HERE.local', type: 'A', ttl: 120, data: '192.0.2.7' }])
    })
    expect(await new LocalNames(interfaces).lookup('here.local', { from, signal: signal() })).toBe('192.0.2.7')
  })

  it('are asked for again: a question or an answer may be lost', async () => {
    let questions = 0
    await responder((query, socket) => {
      if (asks(query, 'lossy.local') && ++questions === 2) socket.respond([{ name: 'lossy.local', type: 'A', ttl: 120, data: '192.0.2.7' }])
    })
    expect(await new LocalNames(interfaces).lookup('lossy.local', { from, signal: signal() })).toBe('192.0.2.7')
    expect(questions).toBe(2)
  })

  it('are not answered by another name, a goodbye, another kind of record or what is no address', async () => {
    await responder((query, socket) => {
      if (!asks(query, 'gone.local')) return
      socket.respond([
        { name: 'other.local', type: 'A', ttl: 120, data: '192.0.2.1' },
        { name: 'gone.local', type: 'A', ttl: 0, data: '192.0.2.2' },
        { name: 'gone.local', type: 'TXT', ttl: 120, data: '192.0.2.3' },
        { name: 'gone.local', type: 'A', ttl: 120, data: '192.0.2.4' },
      ])
    })
    expect(await new LocalNames(interfaces).lookup('gone.local', { from, signal: signal() })).toBe('192.0.2.4')
  })

  it('share sockets, which are closed when nobody waits any more', async () => {
    const { make, open, made } = counting()
    const names = new LocalNames(interfaces, async () => ({ default: make }))
    await responder((query, socket) => {
      if (asks(query, 'one.local')) socket.respond([{ name: 'one.local', type: 'A', ttl: 120, data: '192.0.2.7' }])
    })
    const controller = new AbortController()
    const two = names.lookup('two.local', { from, signal: controller.signal })
    await names.lookup('one.local', { from, signal: signal() })
    expect([open(), made()]).toEqual([1, 1])
    controller.abort(new Error('enough'))
    await expect(two).rejects.toThrow('enough')
    expect(open()).toBe(0)
  })

  it('fail with the name of the package to install where it is missing', async () => {
    const names = new LocalNames(interfaces, () => Promise.reject(new Error('not found')))
    await expect(names.lookup('x.local', { from, signal: signal() })).rejects.toMatchObject({
      code: 'ERR_DNS',
      message: 'names under .local need the package multicast-dns: npm install multicast-dns',
    })
  })

  it('fail at once when none of our addresses is on an interface', async () => {
    const options = { from: [Address.of('192.0.2.1', 0)], signal: signal() }
    await expect(new LocalNames(interfaces).lookup('x.local', options)).rejects.toMatchObject({
      code: 'ERR_DNS',
      message: expect.stringMatching('on a link'),
    })
  })

  it('fail when no socket can be opened', async () => {
    const make: typeof makeMulticastDns = (options) => makeMulticastDns({ ...options, reuseAddr: false })
    await responder(() => {})
    const names = new LocalNames(interfaces, async () => ({ default: make }))
    await expect(names.lookup('x.local', { from, signal: signal() })).rejects.toMatchObject({
      code: 'ERR_DNS',
      message: expect.stringMatching('no socket'),
    })
  })
})
