/**
 * What every Network must do, whichever world it stands on. Call `networkSuite` from a test file of the implementation.
 * The two networks may be one and the same object. The rules are those of the interfaces in src/net.
 */
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { SallyportError } from '../../src/errors.ts'
import {
  Address,
  type BindOptions,
  type DatagramSocket,
  type InterfaceAddress,
  type Network,
  type SendFailure,
  type Stream,
  type StreamListener,
} from '../../src/net/index.ts'
import { type Required, requires } from '../requirements.ts'
import { makeIdentity } from './tls-identity.ts'

export interface NetworkPair {
  readonly a: Network
  readonly b: Network
  /** IPv4 literals: an address of `a` that `b` reaches, and the reverse. */
  readonly ipOfA: string
  readonly ipOfB: string
  /** Lets the world go on until the promise settles. The real world goes on by itself. */
  until<T>(promise: Promise<T>): Promise<T>
  /** A port of `b` on which nobody listens for TCP. */
  readonly deadPort: number
  close?(): Promise<void> | void
}

interface Received {
  readonly data: Uint8Array
  readonly from: Address
}

/** A handler that keeps what it gets and can be waited for. */
class Ear {
  readonly received: Received[] = []
  readonly failures: SendFailure[] = []
  readonly lost: Error[] = []
  #waiting: { readonly count: number; readonly resolve: () => void } | undefined

  datagram(data: Uint8Array, from: Address): void {
    this.received.push({ data, from })
    this.#check()
  }

  sendFailed(_to: Address, failure: SendFailure): void {
    this.failures.push(failure)
    this.#check()
  }

  /** Settles when so many datagrams and failures have come. */
  heard(count: number): Promise<void> {
    return new Promise((resolve) => {
      this.#waiting = { count, resolve }
      this.#check()
    })
  }

  #check(): void {
    if (this.#waiting === undefined || this.received.length + this.failures.length < this.#waiting.count) return
    this.#waiting.resolve()
    this.#waiting = undefined
  }
}

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)
const text = (data: Uint8Array): string => new TextDecoder().decode(data)

/** `multicast`: what that takes on the link that both addresses are on; false where they are not on one. */
export function networkSuite(
  name: string,
  makePair: () => Promise<NetworkPair> | NetworkPair,
  multicast: Required | false = { skip: false },
): void {
  describe(`${name} as a Network`, () => {
    let pair: NetworkPair
    let sockets: DatagramSocket[]
    let listeners: StreamListener[]

    beforeEach(async () => {
      pair = await makePair()
      sockets = []
      listeners = []
    })

    afterEach(async () => {
      for (const open of [...sockets, ...listeners]) open.close()
      await pair.close?.()
    })

    async function bind(network: Network, options: Omit<BindOptions, 'family'>): Promise<{ socket: DatagramSocket; ear: Ear }> {
      const socket = await pair.until(network.bind({ family: 4, ...options }))
      const ear = new Ear()
      socket.handle({
        datagram: (data, from) => ear.datagram(data, from),
        sendFailed: (to, failure) => ear.sendFailed(to, failure),
        drained: () => {},
        lost: (reason) => ear.lost.push(reason),
      })
      sockets.push(socket)
      return { socket, ear }
    }

    async function listen(accept: (stream: Stream) => void): Promise<Address> {
      const listener = await pair.until(pair.b.listen({ family: 4, ip: pair.ipOfB }, accept))
      listeners.push(listener)
      return listener.local
    }

    async function rejection(promise: Promise<unknown>): Promise<unknown> {
      return pair.until(
        promise.then(
          () => expect.fail('it was not refused'),
          (error: unknown) => error,
        ),
      )
    }

    function sleep(network: Network, milliseconds: number): Promise<void> {
      return pair.until(new Promise((resolve) => network.clock.wake(network.clock.now() + milliseconds, resolve)))
    }

    describe('datagram sockets', () => {
      test('are bound to the address asked for and to some free port', async () => {
        const { socket } = await bind(pair.a, { ip: pair.ipOfA })
        expect(socket.local.ip).toBe(pair.ipOfA)
        expect(socket.local.port).toBeGreaterThan(0)
      })

      test('are bound to the wildcard when no address is asked for', async () => {
        const { socket } = await bind(pair.a, {})
        expect(socket.local.scope).toBe('unspecified')
        expect(socket.local.port).toBeGreaterThan(0)
      })

      test('are refused a taken port with ERR_BIND and the cause', async () => {
        const { socket } = await bind(pair.a, { ip: pair.ipOfA })
        const error = await rejection(pair.a.bind({ family: 4, ip: pair.ipOfA, port: socket.local.port }))
        expect(error).toBeInstanceOf(SallyportError)
        expect(error).toMatchObject({ code: 'ERR_BIND', cause: { code: 'EADDRINUSE' } })
      })

      test('are refused an address of somebody else with ERR_BIND and the cause', async () => {
        const error = await rejection(pair.a.bind({ family: 4, ip: '192.0.2.77' }))
        expect(error).toMatchObject({ code: 'ERR_BIND', cause: { code: 'EADDRNOTAVAIL' } })
      })

      test('are refused what is no address of the family with ERR_BIND', async () => {
        expect(await rejection(pair.a.bind({ family: 4, ip: '::1' }))).toMatchObject({ code: 'ERR_BIND' })
        expect(await rejection(pair.a.bind({ family: 4, ip: 'localhost' }))).toMatchObject({ code: 'ERR_BIND' })
      })

      test('refuse a port that is none with a RangeError', async () => {
        expect(await rejection(pair.a.bind({ family: 4, port: 65_536 }))).toBeInstanceOf(RangeError)
        expect(await rejection(pair.a.bind({ family: 4, port: 1.5 }))).toBeInstanceOf(RangeError)
      })

      test('refuse a buffer of no bytes with a RangeError', async () => {
        for (const buffer of [0, -1, 1.5, Number.NaN])
          expect(await rejection(pair.a.bind({ family: 4, buffer }))).toBeInstanceOf(RangeError)
      })

      test('tell how much the system grants them to receive, at most what they asked for, or that there is no system', async () => {
        const { socket } = await bind(pair.a, { buffer: 100_000 })
        if (socket.buffer !== undefined) expect(Math.abs(socket.buffer - 100_000)).toBeLessThan(4_096)
      })

      test('are refused a taken port although they would share it, when the other does not', async () => {
        const { socket } = await bind(pair.a, { ip: pair.ipOfA })
        const sharing = pair.a.bind({ family: 4, ip: pair.ipOfA, port: socket.local.port, reusePort: true })
        expect(await rejection(sharing)).toMatchObject({ code: 'ERR_BIND' })
      })

      test('give their port back when they are closed', async () => {
        const { socket } = await bind(pair.a, { ip: pair.ipOfA })
        socket.close()
        const again = await bind(pair.a, { ip: pair.ipOfA, port: socket.local.port })
        expect(again.socket.local.key).toBe(socket.local.key)
      })

      test('carry datagrams both ways with the source they came from', async () => {
        const a = await bind(pair.a, { ip: pair.ipOfA })
        const b = await bind(pair.b, { ip: pair.ipOfB })
        a.socket.send(bytes('ping'), b.socket.local)
        await pair.until(b.ear.heard(1))
        const [ping] = b.ear.received
        expect(text(ping!.data)).toBe('ping')
        expect(ping!.from.key).toBe(a.socket.local.key)
        b.socket.send(bytes('pong'), ping!.from)
        await pair.until(a.ear.heard(1))
        expect(text(a.ear.received[0]!.data)).toBe('pong')
        expect(a.ear.received[0]!.from.key).toBe(b.socket.local.key)
      })

      test('bound to the wildcard hear what is sent to any address of the host', async () => {
        const a = await bind(pair.a, { ip: pair.ipOfA })
        const b = await bind(pair.b, {})
        a.socket.send(bytes('hello'), Address.of(pair.ipOfB, b.socket.local.port))
        await pair.until(b.ear.heard(1))
        expect(text(b.ear.received[0]!.data)).toBe('hello')
      })

      test('carry empty datagrams', async () => {
        const a = await bind(pair.a, { ip: pair.ipOfA })
        const b = await bind(pair.b, { ip: pair.ipOfB })
        a.socket.send(new Uint8Array(0), b.socket.local)
        await pair.until(b.ear.heard(1))
        expect(b.ear.received[0]!.data.length).toBe(0)
      })

      test('carry a view without what lies around it', async () => {
        const a = await bind(pair.a, { ip: pair.ipOfA })
        const b = await bind(pair.b, { ip: pair.ipOfB })
        a.socket.send(bytes('xxhelloxx').subarray(2, 7), b.socket.local)
        await pair.until(b.ear.heard(1))
        expect(text(b.ear.received[0]!.data)).toBe('hello')
      })

      test("let the receiver own what it gets: the sender's memory is another", async () => {
        const a = await bind(pair.a, { ip: pair.ipOfA })
        const b = await bind(pair.b, { ip: pair.ipOfB })
        const message = bytes('mine')
        a.socket.send(message, b.socket.local)
        await pair.until(b.ear.heard(1))
        b.ear.received[0]!.data.fill(0)
        expect(text(message)).toBe('mine')
      })

      test("keep a receiver's datagram as it was when the sender reuses its buffer in a later turn", async () => {
        const a = await bind(pair.a, { ip: pair.ipOfA })
        const b = await bind(pair.b, { ip: pair.ipOfB })
        const buffer = bytes('first')
        a.socket.send(buffer, b.socket.local)
        await pair.until(b.ear.heard(1))
        buffer.set(bytes('later'))
        expect(text(b.ear.received[0]!.data)).toBe('first')
      })

      test('report a datagram that is too long when asked to, and do not when not', async () => {
        const a = await bind(pair.a, { ip: pair.ipOfA })
        const b = await bind(pair.b, { ip: pair.ipOfB })
        const long = new Uint8Array(65_508)
        a.socket.send(long, b.socket.local)
        a.socket.send(long, b.socket.local, true)
        await pair.until(a.ear.heard(1))
        a.socket.send(bytes('still alive'), b.socket.local)
        await pair.until(b.ear.heard(1))
        expect(a.ear.failures).toEqual(['EMSGSIZE'])
      })

      test('never call the handler from within send', async () => {
        const a = await bind(pair.a, { ip: pair.ipOfA })
        a.socket.send(bytes('to myself'), a.socket.local)
        a.socket.send(new Uint8Array(65_508), a.socket.local, true)
        expect(a.ear.received.length + a.ear.failures.length).toBe(0)
        await pair.until(a.ear.heard(2))
      })

      test('take a hop limit from 1 to 255 and refuse others with a RangeError', async () => {
        const { socket } = await bind(pair.a, { ip: pair.ipOfA })
        socket.setHopLimit(1)
        socket.setHopLimit(255)
        for (const hops of [0, 256, 1.5, Number.NaN]) expect(() => socket.setHopLimit(hops)).toThrow(RangeError)
      })

      test('may be closed twice, and call no handler afterwards', async () => {
        const a = await bind(pair.a, { ip: pair.ipOfA })
        const b = await bind(pair.b, { ip: pair.ipOfB })
        const witness = await bind(pair.b, { ip: pair.ipOfB })
        a.socket.send(bytes('too late'), b.socket.local)
        a.socket.send(new Uint8Array(65_508), b.socket.local, true)
        b.socket.close()
        b.socket.close()
        a.socket.close()
        const other = await bind(pair.a, { ip: pair.ipOfA })
        other.socket.send(bytes('after it'), witness.socket.local)
        await pair.until(witness.ear.heard(1))
        expect(b.ear.received).toEqual([])
        expect(a.ear.failures).toEqual([])
        expect([...a.ear.lost, ...b.ear.lost]).toEqual([])
      })

      test('take a send after close without a word', async () => {
        const { socket, ear } = await bind(pair.a, { ip: pair.ipOfA })
        socket.close()
        expect(() => socket.send(bytes('x'), socket.local, true)).not.toThrow()
        await sleep(pair.a, 5)
        expect(ear.failures).toEqual([])
      })

      test('may be closed from within their own handler', async () => {
        const a = await bind(pair.a, { ip: pair.ipOfA })
        const b = await pair.until(pair.b.bind({ family: 4, ip: pair.ipOfB }))
        sockets.push(b)
        let calls = 0
        const first = new Promise<void>((resolve) => {
          b.handle({
            datagram: () => {
              calls++
              b.close()
              resolve()
            },
            sendFailed: () => {},
            drained: () => {},
            lost: () => {},
          })
        })
        for (let i = 0; i < 3; i++) a.socket.send(bytes('x'), b.local)
        await pair.until(first)
        await sleep(pair.a, 20)
        expect(calls).toBe(1)
      })
    })

    describe('the clock', () => {
      test('wakes not before its time', async () => {
        const { clock } = pair.a
        const at = clock.now() + 10
        await pair.until(new Promise<void>((resolve) => clock.wake(at, resolve)))
        expect(clock.now()).toBeGreaterThanOrEqual(at)
      })

      test('wakes for a time that has passed, but not within the call', async () => {
        let woken = false
        const past = new Promise<void>((resolve) => {
          pair.a.clock.wake(pair.a.clock.now() - 5, () => {
            woken = true
            resolve()
          })
        })
        expect(woken).toBe(false)
        await pair.until(past)
      })

      test('does not wake what was cancelled, and may be told so twice', async () => {
        const { clock } = pair.a
        let woken = false
        const timer = clock.wake(clock.now() + 5, () => {
          woken = true
        })
        timer.cancel()
        timer.cancel()
        await sleep(pair.a, 10)
        expect(woken).toBe(false)
      })

      test('wakes in the order of the times', async () => {
        const { clock } = pair.a
        const now = clock.now()
        const order: number[] = []
        for (const delay of [12, 3, 7]) clock.wake(now + delay, () => order.push(delay))
        await sleep(pair.a, 20)
        expect(order).toEqual([3, 7, 12])
      })

      test('tells a wall time of this century', () => {
        expect(pair.a.clock.wallTime()).toBeGreaterThan(Date.UTC(2020, 0))
      })
    })

    test('refuses a family that is none with a TypeError', async () => {
      expect(await rejection(pair.a.bind({ family: 5 as never }))).toBeInstanceOf(TypeError)
    })

    test('gives as many random bytes as asked for, and others each time', () => {
      expect(pair.a.random.bytes(0).length).toBe(0)
      const first = pair.a.random.bytes(33)
      expect(first.length).toBe(33)
      expect(pair.a.random.bytes(33)).not.toEqual(first)
    })

    test('lists interfaces whose addresses can be bound, loopback among them', async () => {
      const list = pair.a.interfaces.list()
      expect(list.some(({ internal, address }) => internal && address.scope === 'loopback')).toBe(true)
      for (const { address } of list.filter((entry) => entry.address.family === 4)) {
        expect(address.port).toBe(0)
        const { socket } = await bind(pair.a, { ip: address.ip })
        expect(socket.local.ip).toBe(address.ip)
      }
    })

    test('stops watching interfaces when told, and may be told so twice', () => {
      const stop = pair.a.interfaces.watch(() => {})
      stop()
      stop()
    })

    test('tells its default routes, or that there are none, without rejecting', async () => {
      for (const { family, name } of await pair.until(pair.a.gateway.defaultRoutes())) {
        expect([4, 6]).toContain(family)
        expect(name).not.toBe('')
      }
    })

    test('looks up an IP literal as itself', async () => {
      expect(await pair.until(pair.a.dns.lookup('192.0.2.1'))).toEqual(['192.0.2.1'])
    })

    test("rejects a look-up with the signal's reason", async () => {
      const reason = new Error('changed my mind')
      expect(await rejection(pair.a.dns.lookup('name.invalid', { signal: AbortSignal.abort(reason) }))).toBe(reason)
    })

    test("rejects a look-up on the link with the signal's reason, before it and during it", async () => {
      const reason = new Error('changed my mind')
      const from = [Address.of(pair.ipOfA, 0)]
      const look = (signal: AbortSignal): Promise<unknown> => rejection(pair.a.dns.lookupLocal('nobody-has-this.local', { from, signal }))
      expect(await look(AbortSignal.abort(reason))).toBe(reason)
      const controller = new AbortController()
      const looking = look(controller.signal)
      controller.abort(reason)
      expect(await looking).toBe(reason)
    })

    test.each(['example.net', 'a.b.local', 'local', '.local', `${'x'.repeat(64)}.local`, '192.0.2.1'])(
      'asks nobody on the link for %s, which is not one label and .local',
      async (name) => {
        const options = { from: [Address.of(pair.ipOfA, 0)], signal: new AbortController().signal }
        expect(await rejection(pair.a.dns.lookupLocal(name, options))).toMatchObject({ code: 'ERR_DNS' })
      },
    )

    if (multicast !== false) {
      describe('multicast', () => {
        const GROUP = '239.255.77.1'

        function link(network: Network, ip: string): InterfaceAddress {
          return network.interfaces.list().find(({ address }) => address.ip === ip)!
        }

        function member(port = 0, groups: readonly string[] = [GROUP]): ReturnType<typeof bind> {
          return bind(pair.b, { port, multicast: { on: link(pair.b, pair.ipOfB), groups } })
        }

        function sender(): ReturnType<typeof bind> {
          return bind(pair.a, { ip: pair.ipOfA, multicast: { on: link(pair.a, pair.ipOfA) } })
        }

        test('reaches each of those that share a port and joined the group', multicast, async () => {
          const one = await member()
          const { port } = one.socket.local
          const other = await member(port)
          const from = await sender()
          from.socket.send(bytes('everybody'), Address.of(GROUP, port))
          await pair.until(Promise.all([one.ear.heard(1), other.ear.heard(1)]))
          for (const { ear } of [one, other]) {
            expect(text(ear.received[0]!.data)).toBe('everybody')
            expect(ear.received[0]!.from.key).toBe(from.socket.local.key)
          }
        })

        test('gives each of them bytes of its own', multicast, async () => {
          const one = await member()
          const other = await member(one.socket.local.port)
          const from = await sender()
          from.socket.send(bytes('mine'), Address.of(GROUP, one.socket.local.port))
          await pair.until(Promise.all([one.ear.heard(1), other.ear.heard(1)]))
          one.ear.received[0]!.data.fill(0)
          expect(text(other.ear.received[0]!.data)).toBe('mine')
        })

        test('does not reach who joined another group', multicast, async () => {
          const { socket, ear } = await member()
          const from = await sender()
          from.socket.send(bytes('theirs'), Address.of('239.255.77.2', socket.local.port))
          from.socket.send(bytes('ours'), Address.of(GROUP, socket.local.port))
          await pair.until(ear.heard(1))
          await sleep(pair.b, 20)
          expect(ear.received.map(({ data }) => text(data))).toEqual(['ours'])
        })

        test('reaches the sender itself when it is a member', multicast, async () => {
          const { socket, ear } = await member()
          socket.send(bytes('echo'), Address.of(GROUP, socket.local.port))
          await pair.until(ear.heard(1))
          expect(ear.received[0]!.from.ip).toBe(pair.ipOfB)
        })

        test('is answered to the one who asked, at the address it is bound to', multicast, async () => {
          const { socket } = await member()
          const from = await sender()
          socket.handle({
            datagram: (_, asker) => socket.send(bytes('here'), asker),
            sendFailed: () => {},
            drained: () => {},
            lost: () => {},
          })
          from.socket.send(bytes('who?'), Address.of(GROUP, socket.local.port))
          await pair.until(from.ear.heard(1))
          expect(from.ear.received[0]!.from.key).toBe(Address.of(pair.ipOfB, socket.local.port).key)
        })

        test('shares no port with who has it alone', multicast, async () => {
          const { socket } = await bind(pair.b, {})
          expect(await rejection(member(socket.local.port))).toMatchObject({ code: 'ERR_BIND' })
        })

        test('is refused with ERR_BIND for what is no group, and on a link that is not there', multicast, async () => {
          expect(await rejection(member(0, ['192.0.2.1']))).toMatchObject({ code: 'ERR_BIND' })
          const on = { ...link(pair.b, pair.ipOfB), name: 'none0', address: Address.of('192.0.2.77', 0) }
          expect(await rejection(pair.b.bind({ family: 4, multicast: { on, groups: [GROUP] } }))).toMatchObject({ code: 'ERR_BIND' })
        })
      })
    }

    describe('streams', () => {
      test('come from the address and the port that were asked for', async () => {
        const accepted: Address[] = []
        const remote = await listen((stream) => {
          accepted.push(stream.remote)
          stream.handle({ data: () => {}, drained: () => {}, closed: () => {} })
        })
        const free = await bind(pair.a, { ip: pair.ipOfA })
        const from = Address.of(pair.ipOfA, free.socket.local.port)
        const stream = await pair.until(pair.a.streams.dial({ to: remote, from }))
        expect(stream.local.key).toBe(from.key)
        await sleep(pair.b, 50)
        expect(accepted.map(({ key }) => key)).toEqual([from.key])
        stream.destroy()
      })

      test('come from any port of the address that was asked for', async () => {
        const remote = await listen((stream) => stream.handle({ data: () => {}, drained: () => {}, closed: () => {} }))
        const stream = await pair.until(pair.a.streams.dial({ to: remote, from: Address.of(pair.ipOfA, 0) }))
        expect(stream.local.ip).toBe(pair.ipOfA)
        expect(stream.local.port).toBeGreaterThan(0)
        stream.destroy()
      })

      test("are refused with ERR_DIAL from somebody else's address", async () => {
        const remote = await listen(() => {})
        const error = await rejection(pair.a.streams.dial({ to: remote, from: Address.of('192.0.2.77', 0) }))
        expect(error).toMatchObject({ code: 'ERR_DIAL', cause: { code: 'EADDRNOTAVAIL' } })
      })

      test('echo what is written, in order, whatever its length', async () => {
        const remote = await listen((stream) => {
          stream.handle({ data: (chunk) => stream.write(chunk), drained: () => {}, closed: () => {} })
        })
        const stream = await pair.until(pair.a.streams.dial({ to: remote }))
        expect(stream.remote.key).toBe(remote.key)
        const sent = Uint8Array.from({ length: 200_000 }, (_, i) => (i * 7 + (i >> 8)) & 0xff)
        const echoed = new Uint8Array(sent.length)
        let length = 0
        const all = new Promise<void>((resolve) => {
          stream.handle({
            data: (chunk) => {
              echoed.set(chunk, length)
              length += chunk.length
              if (length === sent.length) resolve()
            },
            drained: () => {},
            closed: () => {},
          })
        })
        for (let i = 0; i < sent.length; i += 12_345) stream.write(sent.slice(i, i + 12_345))
        await pair.until(all)
        expect(Buffer.from(echoed).equals(Buffer.from(sent))).toBe(true)
        stream.destroy()
      })

      test('say that they have drained after a full queue', async () => {
        const remote = await listen((stream) => stream.handle({ data: () => {}, drained: () => {}, closed: () => {} }))
        const stream = await pair.until(pair.a.streams.dial({ to: remote }))
        const drained = new Promise<void>((resolve) => stream.handle({ data: () => {}, drained: resolve, closed: () => {} }))
        let room = true
        for (let i = 0; i < 1000 && room; i++) room = stream.write(new Uint8Array(65_536))
        expect(room).toBe(false)
        await pair.until(drained)
        stream.destroy()
      })

      test('deliver what was written in pieces in one turn, in order', async () => {
        let heard = ''
        let tell: () => void = () => {}
        const closed = new Promise<void>((resolve) => {
          tell = resolve
        })
        const remote = await listen((stream) => {
          stream.handle({
            data: (chunk) => {
              heard += text(chunk)
            },
            drained: () => {},
            closed: () => tell(),
          })
        })
        const stream = await pair.until(pair.a.streams.dial({ to: remote }))
        const letters = 'abcdefghijklmnopqrstuvwxyz'
        for (const letter of letters) stream.write(bytes(letter))
        await sleep(pair.a, 5)
        for (const letter of letters) stream.write(bytes(letter))
        stream.end()
        await pair.until(closed)
        expect(heard).toBe(letters + letters)
      })

      test('deliver what was written before the end, then tell both sides that they are closed without a reason', async () => {
        let heard = ''
        let tell: (reason: Error | undefined) => void = () => {}
        const other = new Promise<Error | undefined>((resolve) => {
          tell = resolve
        })
        const remote = await listen((stream) => {
          stream.handle({
            data: (chunk) => {
              heard += text(chunk)
            },
            drained: () => {},
            closed: (reason) => tell(reason),
          })
        })
        const stream = await pair.until(pair.a.streams.dial({ to: remote }))
        const own = new Promise<Error | undefined>((resolve) => stream.handle({ data: () => {}, drained: () => {}, closed: resolve }))
        stream.write(bytes('good'))
        stream.write(bytes('bye'))
        stream.end()
        stream.end()
        expect(await pair.until(other)).toBeUndefined()
        expect(await pair.until(own)).toBeUndefined()
        expect(heard).toBe('goodbye')
      })

      test('are refused with ERR_DIAL where nobody listens', async () => {
        const error = await rejection(pair.a.streams.dial({ to: Address.of(pair.ipOfB, pair.deadPort) }))
        expect(error).toMatchObject({ code: 'ERR_DIAL', cause: { code: 'ECONNREFUSED' } })
      })

      test("reject a dial with the signal's reason, before it and during it", async () => {
        const remote = await listen((stream) => stream.handle({ data: () => {}, drained: () => {}, closed: () => {} }))
        const reason = new Error('changed my mind')
        expect(await rejection(pair.a.streams.dial({ to: remote, signal: AbortSignal.abort(reason) }))).toBe(reason)
        const controller = new AbortController()
        const dialling = rejection(pair.a.streams.dial({ to: remote, signal: controller.signal }))
        controller.abort(reason)
        expect(await dialling).toBe(reason)
      })

      test('may be destroyed twice, and take writes afterwards without a word', async () => {
        const remote = await listen((stream) => stream.handle({ data: () => {}, drained: () => {}, closed: () => {} }))
        const stream = await pair.until(pair.a.streams.dial({ to: remote }))
        let closes = 0
        stream.handle({ data: () => {}, drained: () => {}, closed: () => closes++ })
        stream.destroy()
        stream.destroy()
        expect(() => stream.write(bytes('x'))).not.toThrow()
        expect(() => stream.end()).not.toThrow()
        await sleep(pair.a, 10)
        expect(closes).toBeLessThanOrEqual(1)
      })

      test('already accepted outlive their listener, which may be closed twice', async () => {
        let tell: (heard: string) => void = () => {}
        const heard = new Promise<string>((resolve) => {
          tell = resolve
        })
        const accepted: Promise<void> = new Promise((resolve) => {
          void listen((stream) => {
            stream.handle({ data: (chunk) => tell(text(chunk)), drained: () => {}, closed: () => {} })
            resolve()
          }).then(async (remote) => {
            const stream = await pair.a.streams.dial({ to: remote })
            await accepted
            for (const listener of listeners) {
              listener.close()
              listener.close()
            }
            stream.write(bytes('still here'))
          })
        })
        await pair.until(accepted)
        expect(await pair.until(heard)).toBe('still here')
      })

      test('carry data both ways where both ends speak TLS', requires({ commands: { openssl: 'openssl' } }), async () => {
        const identity = makeIdentity('relay.test')
        const listener = await pair.until(
          pair.b.listen({ family: 4, ip: pair.ipOfB, tls: identity }, (stream) => {
            stream.handle({ data: (chunk) => stream.write(chunk), drained: () => {}, closed: () => {} })
          }),
        )
        listeners.push(listener)
        const tls = { serverName: 'relay.test', ca: identity.cert }
        const stream = await pair.until(pair.a.streams.dial({ to: listener.local, tls }))
        const heard = new Promise<string>((resolve) => {
          stream.handle({ data: (chunk) => resolve(text(chunk)), drained: () => {}, closed: () => {} })
        })
        stream.write(bytes('there and back'))
        expect(await pair.until(heard)).toBe('there and back')
        stream.destroy()
      })

      test('are refused a taken port with ERR_BIND', async () => {
        const remote = await listen(() => {})
        expect(await rejection(pair.b.listen({ family: 4, ip: remote.ip, port: remote.port }, () => {}))).toMatchObject({
          code: 'ERR_BIND',
        })
      })
    })
  })
}
