import { createSocket, type RemoteInfo, type Socket } from 'node:dgram'
import { once } from 'node:events'
import { afterEach, describe, expect, it } from 'vitest'
import { Address } from '../../../src/net/index.ts'
import { type AdoptedSocket, adoptSocket } from '../../../src/net/node/index.ts'

const open: Socket[] = []

async function callersSocket(type: 'udp4' | 'udp6' = 'udp4', address = '127.0.0.1'): Promise<Socket> {
  const socket = createSocket(type)
  open.push(socket)
  socket.bind(0, address)
  await once(socket, 'listening')
  return socket
}

afterEach(() => {
  for (const socket of open.splice(0)) {
    try {
      socket.close()
    } catch {
      // closed by the test
    }
  }
})

/** What our side heard, and how to wait for the next. `ours` decides; the rest is passed on. */
function listenWith(adopted: AdoptedSocket, ours: (text: string) => boolean = () => true) {
  const heard: string[] = []
  const lost: Error[] = []
  adopted.handle({
    datagram(data, from) {
      const text = Buffer.from(data).toString()
      if (ours(text)) heard.push(`${text} ${from.key}`)
      else adopted.passOn(data, from)
    },
    sendFailed: () => {},
    drained: () => {},
    lost: (reason) => lost.push(reason),
  })
  return { heard, lost }
}

function portOf(socket: Socket): number {
  return socket.address().port
}

/** Sends in order over loopback, which keeps it, and waits until the socket itself has seen the last. */
async function deliver(from: Socket, to: Socket, ...texts: string[]): Promise<void> {
  for (const text of texts) from.send(text, portOf(to), '127.0.0.1')
  const seen = new Promise<void>((resolve) => {
    const emit = to.emit
    let left = texts.length
    to.emit = function (this: Socket, event: string, ...rest: unknown[]) {
      const result = Reflect.apply(emit, this, [event, ...rest])
      if (event === 'message' && --left === 0) {
        to.emit = emit
        resolve()
      }
      return result
    } as Socket['emit']
  })
  await seen
}

describe("a caller's socket", () => {
  it('keeps its address', async () => {
    const socket = await callersSocket()
    expect(adoptSocket(socket).local.key).toBe(`127.0.0.1:${portOf(socket)}`)
  })

  it('brings datagrams to us first, and to the caller only what we pass on', async () => {
    const [socket, peer] = [await callersSocket(), await callersSocket()]
    const callers: string[] = []
    socket.on('message', (data) => callers.push(data.toString()))
    const { heard } = listenWith(adoptSocket(socket), (text) => text.startsWith('ours'))
    await deliver(peer, socket, 'ours 1', 'theirs', 'ours 2')
    expect(heard).toEqual([`ours 1 127.0.0.1:${portOf(peer)}`, `ours 2 127.0.0.1:${portOf(peer)}`])
    expect(callers).toEqual(['theirs'])
  })

  it('brings the caller the very datagram and rinfo the system gave', async () => {
    const [socket, peer] = [await callersSocket(), await callersSocket()]
    const got: [Buffer, RemoteInfo][] = []
    socket.on('message', (data, rinfo) => got.push([data, rinfo]))
    const { heard } = listenWith(adoptSocket(socket), () => false)
    await deliver(peer, socket, 'theirs')
    expect(heard).toEqual([])
    expect(got).toEqual([[Buffer.from('theirs'), { address: '127.0.0.1', family: 'IPv4', port: portOf(peer), size: 6 }]])
  })

  it('brings the caller an equal rinfo when a datagram is passed on later', async () => {
    const socket = await callersSocket('udp6', '::')
    const adopted = adoptSocket(socket)
    listenWith(adopted)
    const got: RemoteInfo[] = []
    socket.on('message', (_data, rinfo) => got.push(rinfo))
    adopted.passOn(Buffer.from('abc'), Address.of('192.0.2.1', 5))
    adopted.passOn(Buffer.from('abc'), Address.of('fe80::1%eth0', 5))
    expect(got).toEqual([
      { address: '::ffff:192.0.2.1', family: 'IPv6', port: 5, size: 3 },
      { address: 'fe80::1%eth0', family: 'IPv6', port: 5, size: 3 },
    ])
  })

  it("is all the caller's until there is a handler", async () => {
    const [socket, peer] = [await callersSocket(), await callersSocket()]
    const callers: string[] = []
    socket.on('message', (data) => callers.push(data.toString()))
    adoptSocket(socket)
    await deliver(peer, socket, 'early')
    expect(callers).toEqual(['early'])
  })

  it('sends for us and still for the caller', async () => {
    const [socket, peer] = [await callersSocket(), await callersSocket()]
    const adopted = adoptSocket(socket)
    const got: string[] = []
    const both = new Promise<void>((resolve) => {
      peer.on('message', (data) => {
        if (got.push(data.toString()) === 2) resolve()
      })
    })
    adopted.send(Buffer.from('from us'), Address.of('127.0.0.1', portOf(peer)))
    socket.send('from the caller', portOf(peer), '127.0.0.1')
    await both
    expect(got.sort()).toEqual(['from the caller', 'from us'])
  })

  it('speaks IPv4 too when it is a dual-stack one', async () => {
    const [socket, peer] = [await callersSocket('udp6', '::'), await callersSocket()]
    const adopted = adoptSocket(socket)
    const { heard } = listenWith(adopted)
    const arrived = once(peer, 'message') as Promise<[Buffer, RemoteInfo]>
    adopted.send(Buffer.from('x'), Address.of('127.0.0.1', portOf(peer)))
    expect((await arrived)[1].port).toBe(portOf(socket))
    await deliver(peer, socket, 'y')
    expect(heard).toEqual([`y 127.0.0.1:${portOf(peer)}`])
  })

  it('is given back on close: open, with its own listeners, and as if we had never been there', async () => {
    const [socket, peer] = [await callersSocket(), await callersSocket()]
    const callers: string[] = []
    socket.on('message', (data) => callers.push(data.toString()))
    const closeListeners = socket.listenerCount('close')
    const adopted = adoptSocket(socket)
    const { heard, lost } = listenWith(adopted)
    adopted.close()
    adopted.close()
    expect(Object.hasOwn(socket, 'emit')).toBe(false)
    expect(socket.listenerCount('close')).toBe(closeListeners)
    await deliver(peer, socket, 'afterwards')
    expect(callers).toEqual(['afterwards'])
    expect(heard).toEqual([])
    expect(lost).toEqual([])
  })

  it('keeps the emit of somebody who wrapped it before us, and lets through one who did after us', async () => {
    const [socket, peer] = [await callersSocket(), await callersSocket()]
    const log: string[] = []
    const wrap = (name: string): void => {
      const inner = socket.emit
      socket.emit = function (this: Socket, event: string, ...rest: unknown[]) {
        if (event === 'message') log.push(name)
        return Reflect.apply(inner, this, [event, ...rest])
      } as Socket['emit']
    }
    wrap('before')
    const before = socket.emit
    const first = adoptSocket(socket)
    first.close()
    expect(socket.emit).toBe(before)
    const second = adoptSocket(socket)
    listenWith(second)
    wrap('after')
    second.close()
    socket.on('message', (data) => log.push(data.toString()))
    await deliver(peer, socket, 'x')
    expect(log).toEqual(['after', 'before', 'x'])
  })

  it('tells us when the caller closes it', async () => {
    const socket = await callersSocket()
    const adopted = adoptSocket(socket)
    const { lost } = listenWith(adopted)
    socket.close()
    await once(socket, 'close')
    expect(lost).toEqual([expect.objectContaining({ code: 'ERR_CLOSED' })])
    expect(() => adopted.send(Buffer.from('x'), Address.of('127.0.0.1', 9), true)).not.toThrow()
  })

  it('has to be bound, open and not connected', async () => {
    const unbound = createSocket('udp4')
    open.push(unbound)
    expect(() => adoptSocket(unbound)).toThrow(TypeError)
    const closed = await callersSocket()
    closed.close()
    expect(() => adoptSocket(closed)).toThrow(TypeError)
    const connected = await callersSocket()
    connected.connect(9, '127.0.0.1')
    await once(connected, 'connect')
    expect(() => adoptSocket(connected)).toThrow(/socket: must not be connected/)
  })
})

it('setHopLimit on a socket that its owner has just closed does nothing, and throws nothing', async () => {
  const socket = createSocket('udp4')
  await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve))
  const adopted = adoptSocket(socket)
  socket.close()
  expect(() => adopted.setHopLimit(2)).not.toThrow()
  adopted.close()
})
