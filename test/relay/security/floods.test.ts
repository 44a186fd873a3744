/**
 * Floods of who has proved nothing: no memory, no descriptors, no more bytes out than in, and those who have an allocation do not notice. Each
 * flood comes in thirds; what the first one makes the server keep (compiled code, caches of fixed size) is no growth, what the others do is.
 */
import { readFileSync } from 'node:fs'
import { afterEach, describe, expect, it } from 'vitest'
import { makeIdentity } from '../../net/tls-identity.ts'
import { requires } from '../../requirements.ts'
import { writeFiles } from './files.ts'
import { Party } from './party.ts'
import { ServerProcess } from './server-process.ts'
import { ALLOCATE, attribute, BINDING, channelData, lifetime, message, newId, REFRESH, sealed, UDP } from './wire.ts'
import { Witness } from './witness.ts'

/** Datagrams between two round trips of the witness: as many as the smallest buffer of a socket has room for. */
const BATCH = 128
/** Bytes of heap for two thirds of a flood. A table entry for each stranger would be several times that. */
const HELD_SLACK = 1 << 20
/** Bytes of resident memory: the collector gives back late, and in large pieces. coturn 4.6 would take 400 MB. */
const RESIDENT_SLACK = 48 << 20
/** IP and UDP headers. */
const HEADERS = 28

const servers: ServerProcess[] = []
const parties: { close(): void }[] = []

afterEach(async () => {
  for (const party of parties.splice(0)) party.close()
  for (const server of servers.splice(0)) await server.stop()
})

async function start(...args: readonly string[]): Promise<{ server: ServerProcess; witness: Witness }> {
  const server = await ServerProcess.serve('--allow-private-peers', ...args)
  servers.push(server)
  return { server, witness: await witnessOf(Party.udp(server.udp[0]!, 'alice')) }
}

async function witnessOf(client: Promise<Party>): Promise<Witness> {
  const witness = await Witness.over(await client)
  parties.push(witness)
  return witness
}

/** Three times the same, and what the server has more of after the last two. */
async function thirds(server: ServerProcess, third: (number: number) => Promise<void>): Promise<void> {
  await third(0)
  const [before, descriptors] = [await server.memory(), server.descriptors()]
  await third(1)
  await third(2)
  const after = await server.memory()
  await server.descriptorsDownTo(descriptors)
  expect(after.held - before.held).toBeLessThan(HELD_SLACK)
  expect(after.resident - before.resident).toBeLessThan(RESIDENT_SLACK)
  expect(server.trouble).toBe('')
}

/** What a stranger may say, in turn. */
function strangersWords(i: number): Buffer {
  const nobody = {
    username: `user${i}`,
    realm: 'sallyport',
    nonce: `obMatJos2AAA${i}`.padEnd(30, 'x').slice(0, 30),
    key: Buffer.alloc(16, i),
  }
  switch (i % 8) {
    case 0:
      return sealed(ALLOCATE, UDP, nobody)
    case 1:
      return message(BINDING, attribute(0x0003, Uint8Array.of(0, 0, 0, 6)))
    case 2:
      return Buffer.concat([newId(), newId(), newId()])
    case 3:
      return channelData(0x4000 + (i % 0x1000), newId(), false)
    case 4:
      return sealed(REFRESH, lifetime(0), { ...nobody, username: 'alice' })
    case 5:
      return message(BINDING, new Uint8Array(0))
    default:
      return message(ALLOCATE, UDP)
  }
}

describe('a flood of datagrams', { timeout: 120_000 }, () => {
  it('from one source port keeps nothing, gets less than it sends, and holds up nobody', async () => {
    const { server, witness } = await start()
    const flooder = await Party.udp(server.udp[0]!)
    parties.push(flooder)
    await thirds(server, async () => {
      for (let i = 0; i < 20_000; i++) {
        flooder.send(strangersWords(i))
        if (i % BATCH === 0) await witness.beat()
      }
      await witness.beat()
    })
    expect(flooder.bytesIn).toBeGreaterThan(0)
    expect(flooder.bytesIn).toBeLessThanOrEqual(flooder.bytesOut)
    expect(witness.damaged).toEqual([])
    expect(await server.metric('relay_allocations')).toBe(1)
  })

  it('from very many ports of one address gets no more', async () => {
    const { server, witness } = await start()
    const sum = { bytesIn: 0, bytesOut: 0 }
    for (let round = 0; round < 40; round++) {
      const flooders = await Promise.all(Array.from({ length: BATCH / 2 }, () => Party.udp(server.udp[0]!)))
      for (const [i, flooder] of flooders.entries()) for (const word of [i, i + 1]) flooder.send(strangersWords(word))
      await witness.beat()
      for (const flooder of flooders) {
        sum.bytesIn += flooder.bytesIn
        sum.bytesOut += flooder.bytesOut
        flooder.close()
      }
    }
    expect(sum.bytesIn).toBeGreaterThan(0)
    expect(sum.bytesIn).toBeLessThanOrEqual(sum.bytesOut)
    expect(witness.damaged).toEqual([])
  })

  it('from very many addresses keeps nothing, and gets no more on the wire than it puts there', async () => {
    const { server, witness } = await start()
    const sum = { in: 0, out: 0 }
    // The process keeps the addresses that it heard from last, 16,384 of them. Two thirds are one turn of that: before and after, as many are kept.
    await thirds(server, async (third) => {
      for (let round = 0; round < 128; round++) {
        const flooders = await Promise.all(
          Array.from({ length: BATCH / 2 }, (_, i) => Party.udp(server.udp[0]!, 'mallory', `127.${1 + third}.${round}.${1 + i}`)),
        )
        // Nothing but what is answered, and is shorter than its answer.
        for (const flooder of flooders) for (let i = 0; i < 2; i++) flooder.send(message(ALLOCATE, UDP))
        await witness.beat()
        await witness.beat()
        for (const flooder of flooders) {
          sum.in += flooder.bytesIn + HEADERS * flooder.packetsIn
          sum.out += flooder.bytesOut + HEADERS * flooder.packetsOut
          flooder.close()
        }
      }
    })
    expect(sum.in).toBeGreaterThan(sum.out / 10)
    expect(sum.in).toBeLessThanOrEqual(sum.out)
    expect(witness.damaged).toEqual([])
  })

  it('that does not wait for anything may fill the buffer of the socket, and ends nothing', async () => {
    const { server, witness } = await start()
    const flooders = await Promise.all(Array.from({ length: 8 }, () => Party.udp(server.udp[0]!)))
    parties.push(...flooders)
    for (let round = 0; round < 40; round++) {
      for (let i = 0; i < 2_000; i++) flooders[i % flooders.length]!.send(strangersWords(i))
      await witness.beat()
    }
    expect([witness.beats, witness.damaged, server.trouble]).toEqual([40, [], ''])
    expect(flooders.reduce((sum, { bytesIn }) => sum + bytesIn, 0)).toBeGreaterThan(0)
  })

  it.each([
    ['a user name that is dear to normalize', dearName()],
    ['as many unknown attributes as it has room for', manyAttributes(ALLOCATE)],
    ['as many of them in a Binding', manyAttributes(BINDING)],
    ['nothing but the headers of attributes', message(ALLOCATE, Buffer.concat([UDP, Buffer.alloc(60_000)]))],
  ])('with %s takes no time that is worth telling', async (_what, datagram) => {
    const { server, witness } = await start()
    const flooder = await Party.udp(server.udp[0]!)
    parties.push(flooder)
    const before = processorTime(server)
    for (let i = 0; i < 20; i++) {
      flooder.send(datagram)
      await witness.beat()
    }
    // Of the processor, not of the clock: 20 ms for each, where the first of them took 1,700.
    expect(processorTime(server) - before).toBeLessThan(400)
    expect(witness.damaged).toEqual([])
  })
})

/** Combining marks in the wrong order, which are sorted by comparing each with each. */
function dearName(): Buffer {
  const username = `a${'\u0301'.repeat(15_000)}${'\u0316'.repeat(15_000)}`
  return sealed(ALLOCATE, UDP, { username, realm: 'sallyport', nonce: 'obMatJos2'.padEnd(30, 'A'), key: Buffer.alloc(16) })
}

function manyAttributes(type: number): Buffer {
  return message(type, Buffer.concat(Array.from({ length: 16_000 }, (_, i) => attribute(0x100 + i, ''))))
}

/** Milliseconds that the process has had a processor, both in itself and in the kernel. */
function processorTime(server: ServerProcess): number {
  const fields = readFileSync(`/proc/${server.pid}/stat`, 'utf8')
    .replace(/^.*\) /, '')
    .split(' ')
  // In hundredths of a second: USER_HZ is the same on all of Linux's architectures that Node.js runs on.
  return 10 * (Number(fields[11]) + Number(fields[12]))
}

describe('a flood of connections', { ...requires({ commands: { openssl: 'openssl' } }), timeout: 120_000 }, () => {
  /** Connections of strangers that a relay has at most. */
  const MOST = 1000
  const PER_SOURCE = 50
  /** Closed already, and in the system still: those of one turn of the server's event loop. */
  const GOING = 50

  it.each(['tcp', 'tls'] as const)('over %s that say nothing is bounded, for each source and in all', async (transport) => {
    const identity = writeFiles(makeIdentity('relay.example'))
    parties.push(identity)
    const { server, witness } = await start('--tls-cert', identity.path('cert'), '--tls-key', identity.path('key'), '--tls-port', '0')
    const streamWitness = await witnessOf(Party.tcp(server.tcp[0]!, 'bob'))
    const to = server[transport][0]!
    const before = server.descriptors()
    const one = await silent(to, 3 * PER_SOURCE, () => '127.0.2.1')
    await streamWitness.beat()
    expect(server.descriptors() - before).toBeLessThanOrEqual(PER_SOURCE + GOING)
    const many = await silent(to, 2 * MOST, (i) => `127.0.3.${1 + (i % 40)}`)
    for (const beating of [witness, streamWitness]) await beating.beat()
    expect(server.descriptors() - before).toBeLessThanOrEqual(MOST + GOING)
    // Another still gets in, and gets its allocation.
    const newcomer = await witnessOf(Party.tcp(server.tcp[0]!, 'bob', '127.0.4.1'))
    await newcomer.beat()
    for (const party of [...one, ...many]) {
      expect(party.bytesIn).toBe(0)
      party.close()
    }
    // Its connection, and its relayed address.
    await server.descriptorsDownTo(before + 2)
    expect([witness.damaged, streamWitness.damaged, server.trouble]).toEqual([[], [], ''])
  })

  async function silent(to: ServerProcess['tcp'][number], count: number, from: (i: number) => string): Promise<Party[]> {
    const made: Party[] = []
    for (let i = 0; i < count; i += 50) {
      const some = await Promise.all(Array.from({ length: 50 }, (_, k) => Party.tcp(to, 'mallory', from(i + k))))
      parties.push(...some)
      made.push(...some)
    }
    return made
  }

  it.each(['tcp', 'tls'] as const)('over %s that say what is nothing are closed, and keep nothing', async (transport) => {
    const identity = writeFiles(makeIdentity('relay.example'))
    parties.push(identity)
    const { server, witness } = await start('--tls-cert', identity.path('cert'), '--tls-key', identity.path('key'), '--tls-port', '0')
    const streamWitness = await witnessOf(Party.tcp(server.tcp[0]!, 'bob'))
    const sum = { bytesIn: 0, bytesOut: 0 }
    await thirds(server, async () => {
      for (let round = 0; round < 30; round++) {
        const some = await Promise.all(Array.from({ length: 20 }, () => Party.tcp(server[transport][0]!)))
        for (const [i, party] of some.entries()) {
          const first = i % 3 === 0 ? 0x80 : i % 3 === 1 ? 0x16 : 0x40
          // No frame; the beginning of a record of TLS; or more of a frame than a stranger may begin.
          for (let k = 0; k < 4; k++) party.send(Buffer.alloc(2_000, first))
        }
        await Promise.all([witness.beat(), streamWitness.beat()])
        for (const party of some) {
          sum.bytesIn += party.bytesIn
          sum.bytesOut += party.bytesOut
          party.close()
        }
      }
    })
    expect(sum.bytesIn).toBeLessThanOrEqual(sum.bytesOut)
    expect([witness.damaged, streamWitness.damaged, await server.metric('relay_allocations')]).toEqual([[], [], 2])
  })
})
