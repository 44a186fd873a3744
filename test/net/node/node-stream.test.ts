import { type AddressInfo, createServer, type Server, Socket } from 'node:net'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { Address, type Stream } from '../../../src/net/index.ts'
import { nodeNetwork } from '../../../src/net/node/index.ts'

const { streams } = nodeNetwork()

let server: Server
let accepted: Socket[]
let stream: Stream
let drains: number

beforeEach(async () => {
  accepted = []
  drains = 0
  // It reads nothing until it is told to.
  server = createServer({ pauseOnConnect: true }, (socket) => accepted.push(socket.on('error', () => {})))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  stream = await streams.dial({ to: Address.of('127.0.0.1', (server.address() as AddressInfo).port) })
  stream.handle({ data: () => {}, drained: () => drains++, closed: () => {} })
  while (accepted.length === 0) await new Promise((resolve) => setImmediate(resolve))
})

afterEach(() => {
  vi.restoreAllMocks()
  stream.destroy()
  for (const socket of accepted) socket.destroy()
  server.close()
})

describe('a stream of Node.js', () => {
  it('writes once for all that was written in one turn, ticks and microtasks of it included', async () => {
    // What node:stream calls to put chunks on the wire.
    const one = vi.spyOn(Socket.prototype, '_write')
    const many = vi.spyOn(Socket.prototype as unknown as { _writev: (...rest: unknown[]) => void }, '_writev')
    stream.write(Buffer.from('a'))
    await Promise.resolve()
    stream.write(Buffer.from('b'))
    await new Promise<void>((resolve) => process.nextTick(resolve))
    stream.write(Buffer.from('c'))
    expect([one.mock.calls.length, many.mock.calls.length]).toEqual([0, 0])
    await new Promise((resolve) => setImmediate(resolve))
    expect([one.mock.calls.length, many.mock.calls.length]).toEqual([0, 1])
    const heard = new Promise((resolve) => accepted[0]?.once('data', (data) => resolve(String(data))).resume())
    expect(await heard).toBe('abc')
  })

  it('writes the next turn by itself', async () => {
    const many = vi.spyOn(Socket.prototype as unknown as { _writev: (...rest: unknown[]) => void }, '_writev')
    for (let turn = 0; turn < 3; turn++) {
      for (let i = 0; i < 10; i++) stream.write(Buffer.from('x'))
      await new Promise((resolve) => setImmediate(resolve))
      await new Promise((resolve) => setImmediate(resolve))
    }
    expect(many).toHaveBeenCalledTimes(3)
  })

  it('is full at 256 KiB that wait, and says once that it drained', async () => {
    const chunk = new Uint8Array(64 * 1024)
    expect([1, 2, 3, 4].map(() => stream.write(chunk))).toEqual([true, true, true, false])
    expect(stream.write(chunk)).toBe(false)
    let length = 0
    await new Promise<void>((resolve) => {
      accepted[0]?.on('data', (data) => {
        length += data.length
        if (length === 5 * chunk.length) resolve()
      })
      accepted[0]?.resume()
    })
    while (drains === 0) await new Promise((resolve) => setImmediate(resolve))
    // One that was never full has nothing to say.
    stream.write(Buffer.alloc(100_000))
    await new Promise<void>((resolve) => accepted[0]?.once('data', () => resolve()))
    for (let i = 0; i < 10; i++) await new Promise((resolve) => setImmediate(resolve))
    expect(drains).toBe(1)
  })

  it('says nothing of what it could not write once it is destroyed', async () => {
    stream.write(Buffer.from('lost'))
    stream.destroy()
    expect(stream.write(Buffer.from('more'))).toBe(true)
    const heard = new Promise((resolve) => {
      let text = ''
      accepted[0]?.on('data', (data) => {
        text += String(data)
      })
      accepted[0]?.on('close', () => resolve(text))
      accepted[0]?.resume()
    })
    expect(await heard).toBe('')
  })
})
