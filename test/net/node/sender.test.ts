import type { Socket } from 'node:dgram'
import { describe, expect, it } from 'vitest'
import { Address, type DatagramHandler } from '../../../src/net/index.ts'
import { Remotes } from '../../../src/net/node/remotes.ts'
import { Sender } from '../../../src/net/node/sender.ts'

type Done = (error: Error | null) => void

/** A node:dgram socket whose system takes datagrams only when told to. */
class SlowSocket {
  readonly calls: { readonly length: number; readonly ip: string; readonly done: Done | undefined }[] = []
  blocked = false
  #waiting: { readonly length: number; readonly done: Done | undefined }[] = []

  send(data: Uint8Array, _port: number, ip: string, done?: Done): void {
    this.calls.push({ length: data.length, ip, done })
    if (this.blocked) this.#waiting.push({ length: data.length, done })
    else if (done !== undefined) process.nextTick(done, null)
  }

  getSendQueueSize(): number {
    return this.#waiting.reduce((sum, { length }) => sum + length, 0)
  }

  /** The system takes one of those that wait. */
  takeOne(error: Error | null = null): void {
    this.#waiting.shift()?.done?.(error)
  }

  get waiting(): number {
    return this.#waiting.length
  }
}

class Log implements DatagramHandler {
  readonly lines: string[] = []

  datagram(): void {}

  sendFailed(to: Address, failure: string): void {
    this.lines.push(`${failure} ${to.key}`)
  }

  drained(): void {
    this.lines.push('drained')
  }

  lost(): void {}
}

const TO = Address.of('192.0.2.1', 4000)

function make(mapped = false) {
  const socket = new SlowSocket()
  const sender = new Sender(socket as unknown as Socket, new Remotes(), mapped)
  const log = new Log()
  sender.handle(log)
  return { socket, sender, log }
}

describe('sending', () => {
  it('costs no callback while the system takes everything', () => {
    const { socket, sender } = make()
    for (let i = 0; i < 100; i++) expect(sender.send(new Uint8Array(1200), TO, false)).toBe(true)
    expect(socket.calls.every(({ done }) => done === undefined)).toBe(true)
  })

  it('says stop when the queue is full, and drained once when most of it left', () => {
    const { socket, sender, log } = make()
    socket.blocked = true
    let sent = 1
    while (sender.send(new Uint8Array(1200), TO, false)) sent++
    expect(sent * 1200).toBeGreaterThan(200_000)
    expect(log.lines).toEqual([])
    socket.takeOne()
    expect(log.lines).toEqual([])
    while (socket.waiting > 0) socket.takeOne()
    expect(log.lines).toEqual(['drained'])
    expect(sender.send(new Uint8Array(1200), TO, false)).toBe(true)
  })

  it('drains even when the largest datagrams filled the queue', () => {
    const { socket, sender, log } = make()
    socket.blocked = true
    while (sender.send(new Uint8Array(65_507), TO, false));
    while (socket.waiting > 0) socket.takeOne()
    expect(log.lines).toEqual(['drained'])
  })

  it('reports refusals with one callback for all datagrams', () => {
    const { socket, sender, log } = make()
    socket.blocked = true
    sender.send(new Uint8Array(10), TO, true)
    sender.send(new Uint8Array(10), TO, true)
    expect(socket.calls[0]?.done).toBe(socket.calls[1]?.done)
    socket.takeOne(Object.assign(new Error('send EPERM'), { code: 'EPERM', address: '192.0.2.1', port: 4000 }))
    socket.takeOne()
    expect(log.lines).toEqual(['EPERM 192.0.2.1:4000'])
  })

  it('gives the system a zone where there is one', () => {
    const { socket, sender } = make()
    sender.send(new Uint8Array(1), Address.of('fe80::1%eth0', 4000), false)
    expect(socket.calls[0]?.ip).toBe('fe80::1%eth0')
  })

  it('RFC 3493 3.7: maps IPv4 on a dual-stack socket', () => {
    const { socket, sender } = make(true)
    sender.send(new Uint8Array(1), TO, false)
    sender.send(new Uint8Array(1), Address.of('2001:db8::1', 4000), false)
    expect(socket.calls.map(({ ip }) => ip)).toEqual(['::ffff:192.0.2.1', '2001:db8::1'])
  })

  it('tells nobody any more once there is no handler', () => {
    const { socket, sender, log } = make()
    socket.blocked = true
    while (sender.send(new Uint8Array(60_000), TO, true));
    sender.handle(undefined)
    while (socket.waiting > 0) socket.takeOne()
    expect(log.lines).toEqual([])
  })
})
