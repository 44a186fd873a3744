import { beforeEach, describe, expect, it } from 'vitest'
import { Address } from '../../src/net/index.ts'
import { Attribute, createStunServer, IntegrityKey, Message, MessageWriter, Method, type StunServer } from '../../src/stun/index.ts'
import { SeededRandom } from './manual-clock.ts'
import { MemoryNetwork, type MemorySocket } from './memory-network.ts'
import { bytesOf, vectors } from './stun-vectors.ts'

const ID = new Uint8Array(12).fill(5)
const A = '192.0.2.1'
const B = '192.0.2.2'

let memory: MemoryNetwork
let client: MemorySocket
const binding = (): MessageWriter => new MessageWriter().start('request', Method.Binding, ID)

beforeEach(() => {
  memory = new MemoryNetwork()
  client = memory.bind({ family: 4, ip: '198.51.100.7', port: 1234 })
})

/** Sends and returns what came back, with where from. */
function ask(data: Uint8Array, to = `${A}:3478`, socket = client): { message: Message; from: string; size: number } | undefined {
  const at = to.lastIndexOf(':')
  socket.received.length = 0
  socket.send(data, Address.of(to.slice(0, at).replace(/[[\]]/g, ''), Number(to.slice(at + 1))))
  const answer = socket.received[0]
  return answer && { message: Message.read(answer.data)!, from: answer.from.key, size: answer.data.length }
}

describe('a Binding request', () => {
  let server: StunServer
  beforeEach(async () => {
    server = await createStunServer({ network: memory.network, addresses: [A, '2001:db8::1'] })
  })

  it('RFC 8489 6.3.1: is answered with the address it came from, under its own transaction id', () => {
    const { message, from } = ask(binding().finish())!
    expect([message.class, message.method, message.transactionKey]).toEqual(['success', Method.Binding, '05'.repeat(12)])
    expect(message.address(Attribute.XorMappedAddress)?.key).toBe('198.51.100.7:1234')
    expect(from).toBe('192.0.2.1:3478')
    expect(server.counters).toMatchObject({ requests: 1, successes: 1, errors: 0 })
  })

  it('is answered over IPv6 too', () => {
    const six = memory.bind({ family: 6, ip: '2001:db8::7', port: 99 })
    expect(ask(binding().finish(), '[2001:db8::1]:3478', six)!.message.address(Attribute.XorMappedAddress)?.key).toBe('[2001:db8::7]:99')
  })

  it('RFC 8489 7: gets FINGERPRINT back when it has one, and not otherwise', () => {
    expect(ask(binding().fingerprint().finish())!.message.fingerprint()).toBe('valid')
    expect(ask(binding().finish())!.message.fingerprint()).toBe('absent')
  })

  it('RFC 5389 12.2: of RFC 3489, bare and without the magic cookie, is answered under its 16 bytes of transaction id, unmasked', () => {
    const request = Uint8Array.of(0, 1, 0, 0, ...new Uint8Array(16).fill(9))
    client.received.length = 0
    client.send(request, Address.of(A, 3478))
    const { data } = client.received[0]!
    // Success, one attribute; MAPPED-ADDRESS, IPv4, 198.51.100.7:1234.
    expect([...data]).toEqual([1, 1, 0, 12, ...request.subarray(4), 0, 1, 0, 8, 0, 1, 1234 >> 8, 1234 & 255, 198, 51, 100, 7])
    expect(server.counters).toMatchObject({ requests: 1, successes: 1, malformed: 0 })
  })

  it('is answered with 12 bytes more than the least request, and no more', () => {
    expect([binding().finish().length, ask(binding().finish())!.size]).toEqual([20, 32])
  })

  it('RFC 8489 6.3.1: with unknown required attributes is refused with 420 that lists them', () => {
    const { message, from } = ask(binding().flag(0x7001).flag(0x7002).flag(0x8777).fingerprint().finish())!
    expect([message.class, message.errorCode()?.code, message.unknownAttributes()]).toEqual(['error', 420, [0x7001, 0x7002]])
    expect([message.fingerprint(), from]).toEqual(['valid', '192.0.2.1:3478'])
    expect(server.counters).toMatchObject({ requests: 1, successes: 0, errors: 1 })
  })

  it('RFC 5780 6.1: with CHANGE-REQUEST, RESPONSE-PORT or PADDING is refused with 420 by a server with one address', () => {
    expect(ask(binding().uint32(Attribute.ChangeRequest, 6).finish())!.message.unknownAttributes()).toEqual([Attribute.ChangeRequest])
    expect(ask(binding().uint32(Attribute.ResponsePort, 0x10000).finish())!.message.unknownAttributes()).toEqual([Attribute.ResponsePort])
    expect(ask(binding().finish())!.message.has(Attribute.OtherAddress)).toBe(false)
  })

  it('with credentials that nobody asked for is served all the same', () => {
    expect(ask(binding().text(Attribute.Username, 'x').integrity(IntegrityKey.shortTerm('y')).finish())!.message.class).toBe('success')
  })

  it('has SOFTWARE in its answer only when the server was given one', async () => {
    expect(ask(binding().finish())!.message.has(Attribute.Software)).toBe(false)
    await createStunServer({ network: memory.network, addresses: [A], port: 5000, software: 'a server' })
    expect(ask(binding().finish(), `${A}:5000`)!.message.text(Attribute.Software)).toBe('a server')
  })
})

describe('what gets no answer, only a count', () => {
  let server: StunServer
  beforeEach(async () => {
    server = await createStunServer({ network: memory.network, addresses: [A, B] })
  })

  it.each(['indication', 'success', 'error'] as const)('RFC 8489 6.3: a Binding %s', (messageClass) => {
    expect(ask(new MessageWriter().start(messageClass, Method.Binding, ID).finish())).toBeUndefined()
    expect(server.counters).toMatchObject({ requests: 0, ignored: 1 })
  })

  it('RFC 8489 6.3: a request of a method that is not served here', () => {
    expect(ask(new MessageWriter().start('request', Method.Allocate, ID).finish())).toBeUndefined()
    expect(server.counters.ignored).toBe(1)
  })

  it('RFC 8489 6.3: a wrong FINGERPRINT', () => {
    const data = binding().fingerprint().finish()
    data[data.length - 1]! ^= 1
    expect(ask(data)).toBeUndefined()
    expect(server.counters).toMatchObject({ requests: 0, malformed: 1 })
  })

  it('a request of RFC 3489, without the magic cookie, that says more than that', () => {
    const data = binding().uint32(Attribute.ChangeRequest, 0).finish()
    data[4] = 0
    expect(ask(data)).toBeUndefined()
    expect(server.counters.malformed).toBe(1)
  })

  it('a request from port 0, where no answer can go', () => {
    memory.sockets.get(`${A}:3478`)!.handler!.datagram(binding().finish(), Address.of('198.51.100.7', 0))
    expect(server.counters).toMatchObject({ requests: 0, ignored: 1 })
  })

  it('noise, and every vector and mutation of it, of any kind, without an exception', () => {
    const random = new SeededRandom(77)
    const handler = memory.sockets.get(`${A}:3478`)!.handler!
    for (let round = 0; round < 5_000; round++) {
      const data = bytesOf(vectors[round % vectors.length]!.hex)
      data[random.below(data.length)] = random.below(256)
      handler.datagram(round % 10 === 0 ? random.bytes(random.below(100)) : data, client.local)
    }
    const { requests, successes, errors, malformed, ignored } = server.counters
    expect(requests + malformed + ignored).toBe(5_000)
    expect(successes + errors).toBe(requests)
  })
})

describe('the behaviour tests of RFC 5780', () => {
  beforeEach(async () => {
    await createStunServer({ network: memory.network, addresses: [A, B] })
  })

  it.each([
    [`${A}:3478`, `${B}:3479`],
    [`${B}:3478`, `${A}:3479`],
    [`${A}:3479`, `${B}:3478`],
    [`${B}:3479`, `${A}:3478`],
  ])('6.1: %s answers from there, and names %s as the other address', (to, other) => {
    const { message, from } = ask(binding().finish(), to)!
    expect(from).toBe(to)
    expect(message.address(Attribute.ResponseOrigin)?.key).toBe(to)
    expect(message.address(Attribute.OtherAddress)?.key).toBe(other)
    expect(message.address(Attribute.MappedAddress)?.key).toBe('198.51.100.7:1234')
  })

  const table: readonly [string, number, string][] = [
    [`${A}:3478`, 0, `${A}:3478`],
    [`${A}:3478`, 2, `${A}:3479`],
    [`${A}:3478`, 4, `${B}:3478`],
    [`${A}:3478`, 6, `${B}:3479`],
    [`${B}:3479`, 2, `${B}:3478`],
    [`${B}:3479`, 4, `${A}:3479`],
    [`${B}:3479`, 6, `${A}:3478`],
  ]
  it.each(table)('6.1 table 1: to %s with CHANGE-REQUEST %i is answered from %s', (to, flags, expected) => {
    const { message, from } = ask(binding().uint32(Attribute.ChangeRequest, flags).finish(), to)!
    expect(from).toBe(expected)
    expect(message.address(Attribute.ResponseOrigin)?.key).toBe(expected)
  })

  it('7.5: RESPONSE-PORT sends the answer to that port of the same address', () => {
    const other = memory.bind({ family: 4, ip: '198.51.100.7', port: 4321 })
    expect(
      ask(
        binding()
          .bytes(Attribute.ResponsePort, Uint8Array.of(4321 >> 8, 4321 & 0xff))
          .finish(),
      ),
    ).toBeUndefined()
    expect(
      ask(
        binding()
          .uint32(Attribute.ResponsePort, 4321 << 16)
          .finish(),
      ),
    ).toBeUndefined()
    const mapped = other.received.map(({ data }) => Message.read(data)!.address(Attribute.XorMappedAddress)?.key)
    expect(mapped).toEqual(['198.51.100.7:1234', '198.51.100.7:1234'])
  })

  it('7.6: PADDING is answered with as much, up to what makes a fragment, so that nothing is amplified', () => {
    for (const [sent, expected] of [
      [8, 8],
      [1201, 1201],
      [1500, 1500],
      [9000, 1500],
    ] as const) {
      const { message, size } = ask(binding().bytes(Attribute.Padding, new Uint8Array(sent)).finish())!
      expect(message.value(Attribute.Padding)?.length).toBe(expected)
      expect(size).toBeLessThan(sent + 120)
    }
  })

  it.each<[string, (writer: MessageWriter) => MessageWriter]>([
    ['RESPONSE-PORT together with PADDING', (w) => w.uint32(Attribute.ResponsePort, 7 << 16).bytes(Attribute.Padding, new Uint8Array(8))],
    ['RESPONSE-PORT 0', (w) => w.uint32(Attribute.ResponsePort, 0)],
    ['RESPONSE-PORT of 3 bytes', (w) => w.bytes(Attribute.ResponsePort, new Uint8Array(3).fill(1))],
    ['CHANGE-REQUEST of 2 bytes', (w) => w.bytes(Attribute.ChangeRequest, new Uint8Array(2))],
  ])('6.1: %s is a bad request, answered to where it came from', (_what, add) => {
    const { message, from } = ask(add(binding()).finish())!
    expect([message.errorCode()?.code, from]).toEqual([400, `${A}:3478`])
  })

  it('work for each family by itself', async () => {
    const addresses = ['2001:db8::1', '2001:db8::2', '203.0.113.9']
    await createStunServer({ network: memory.network, addresses, port: 600, alternatePort: 700 })
    const six = memory.bind({ family: 6, ip: '2001:db8::7', port: 99 })
    expect(ask(binding().uint32(Attribute.ChangeRequest, 6).finish(), '[2001:db8::1]:600', six)!.from).toBe('[2001:db8::2]:700')
    expect(ask(binding().finish(), '203.0.113.9:600')!.message.has(Attribute.OtherAddress)).toBe(false)
  })
})

describe('the sockets', () => {
  it('listen on both wildcards by default, or on one where the machine has no IPv6', async () => {
    const both = await createStunServer({ network: memory.network })
    expect(both.addresses.map(String)).toEqual(['0.0.0.0:3478', '[::]:3478'])
    await both.close()
    memory.refusedFamilies.add(6)
    expect((await createStunServer({ network: memory.network })).addresses.map(String)).toEqual(['0.0.0.0:3478'])
  })

  it('take one free port for both addresses when port is 0, and another for both alternates', async () => {
    const { addresses } = await createStunServer({ network: memory.network, addresses: [A, B], port: 0 })
    expect(addresses.map(({ ip }) => ip)).toEqual([A, B, A, B])
    expect(addresses[0]!.port).toBe(addresses[1]!.port)
    expect(addresses[2]!.port).toBe(addresses[3]!.port)
    expect(addresses[0]!.port).not.toBe(addresses[2]!.port)
  })

  it('are all closed again when one of them cannot be opened', async () => {
    memory.refused.add(`${B}:3479`)
    await expect(createStunServer({ network: memory.network, addresses: [A, B] })).rejects.toMatchObject({ code: 'ERR_BIND' })
    expect([...memory.sockets.keys()]).toEqual([client.local.key])
  })

  it('C69 are all closed by close, however often it is called', async () => {
    const server = await createStunServer({ network: memory.network, addresses: [A, B, '2001:db8::1'] })
    expect(memory.sockets.size).toBe(6)
    await server.close()
    await server.close()
    expect(memory.sockets.size).toBe(1)
  })

  it('with a full queue drop answers, counted, until there is room', async () => {
    const server = await createStunServer({ network: memory.network, addresses: [A] })
    const socket = memory.sockets.get(`${A}:3478`)!
    socket.full = true
    expect(ask(binding().finish())).toBeDefined() // taken, and the last one
    expect(ask(binding().finish())).toBeUndefined()
    expect(server.counters.overflows).toBe(1)
    socket.full = false
    socket.handler!.drained()
    expect(ask(binding().finish())).toBeDefined()
  })

  it.each<[string, object]>([
    ['port', { port: -1 }],
    ['port', { port: 3478.5 }],
    ['alternatePort', { alternatePort: 70_000 }],
    ['alternatePort', { port: 5000, alternatePort: 5000 }],
    ['addresses', { addresses: [] }],
    ['addresses', { addresses: [A, A] }],
    ['addresses', { addresses: [A, B, '192.0.2.3'] }],
    ['addresses', { addresses: [A, '0.0.0.0'] }],
    ['software', { software: 'x'.repeat(764) }],
  ])('are not opened for a senseless %s: %j', async (name, options) => {
    await expect(createStunServer({ network: memory.network, ...options })).rejects.toThrow(new RegExp(`^${name}`))
    await expect(createStunServer({ network: memory.network, ...options })).rejects.toBeInstanceOf(RangeError)
  })

  it.each([undefined, {}, { port: 0 }, { network: undefined }, { network: {} }])(
    'are not opened without a network: %j',
    async (options) => {
      const opened = createStunServer(options as never)
      await expect(opened).rejects.toBeInstanceOf(TypeError)
      await expect(opened).rejects.toThrow(/^option network .*nodeNetwork/)
    },
  )

  it('are not opened for something that is no address', async () => {
    await expect(createStunServer({ network: memory.network, addresses: ['example.org'] })).rejects.toMatchObject({ code: 'ERR_ADDRESS' })
  })
})
