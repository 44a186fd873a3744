/**
 * Damaged messages, very many of them, into `sallyport serve`: over UDP, and over TCP in pieces of any size, from clients that read slowly or
 * not at all. It goes on, and those who have allocations notice nothing. A fifth of a million by default; MUTATIONS=all sends the whole, and
 * SEED draws others.
 */
import { createSocket, type Socket } from 'node:dgram'
import { once } from 'node:events'
import { setImmediate } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Mutants, SINK_IP } from './mutants.ts'
import { Party } from './party.ts'
import { ServerProcess } from './server-process.ts'
import { BINDING, message } from './wire.ts'
import { Witness } from './witness.ts'

const WHOLE = process.env.MUTATIONS === 'all'
const OVER_UDP = WHOLE ? 600_000 : 120_000
const OVER_TCP = WHOLE ? 400_000 : 80_000
const SEED = Number(process.env.SEED ?? 11)
/** Between two round trips of the witnesses. */
const BATCH = 48

describe('a relay under damaged messages', { timeout: 3_600_000 }, () => {
  let server: ServerProcess
  let witness: Witness
  let streamWitness: Witness
  /** A peer that takes whatever is relayed to it. */
  let sink: Socket
  let relayed = 0

  beforeEach(async () => {
    server = await ServerProcess.serve('--allow-private-peers', '--max-user-allocations', '1000')
    witness = await Witness.over(await Party.udp(server.udp[0]!, 'alice'))
    streamWitness = await Witness.over(await Party.tcp(server.tcp[0]!, 'bob'))
    sink = createSocket({ type: 'udp4', recvBufferSize: 1 << 20 })
    // And answers some of it, so that there is something on the way back too.
    sink.on('message', (data, from) => {
      if (++relayed % 2 === 0) sink.send(data, from.port, from.address)
    })
    sink.on('error', () => {})
    sink.bind({ address: SINK_IP, port: 0, exclusive: true })
    await once(sink, 'listening')
  })

  afterEach(async () => {
    for (const one of [witness, streamWitness, sink]) one?.close()
    await server?.stop()
  })

  async function bothBeat(): Promise<void> {
    await Promise.all([witness.beat(), streamWitness.beat()])
  }

  async function expectUnharmed(least: number): Promise<void> {
    expect(server.trouble).toBe('')
    expect([witness.damaged, streamWitness.damaged]).toEqual([[], []])
    expect(witness.beats).toBeGreaterThanOrEqual(least)
    expect(streamWitness.beats).toBeGreaterThanOrEqual(least)
    // A stream loses nothing but with its connection; datagrams only where the kernel has no room for them.
    expect(witness.lost).toBeLessThan(witness.beats / 20)
    // What was sent went as deep as it should: it was believed, refused, relayed and dropped for each reason.
    expect(relayed).toBeGreaterThan(0)
    for (const code of [400, 401, 403, 437, 438])
      expect([code, await server.metric('relay_errors_total', `"${code}"`)]).not.toEqual([code, 0])
    for (const reason of ['malformed', 'unexpected'])
      expect([reason, await server.metric('relay_ignored_total', reason)]).not.toEqual([reason, 0])
    expect(await server.metric('relay_channels')).toBeGreaterThan(0)
    expect(await server.metric('relay_allocations_created_total')).toBeGreaterThan(10)
  }

  it(`${OVER_UDP} over UDP`, async () => {
    const mutants = new Mutants(SEED, sink.address().port)
    const parties: Party[] = []
    for (let i = 0; i < 8; i++) {
      const party = await Party.udp(server.udp[0]!)
      await party.allocate()
      parties.push(party)
    }
    for (let i = 0; i < OVER_UDP; i++) {
      const party = parties[i % parties.length]!
      party.send(mutants.next(party.credentials!, false).data)
      if (i % BATCH === 0) await bothBeat()
      // Datagrams of strangers, and a nonce that is not too old.
      if (i % 20_000 === 0) {
        parties.shift()?.close()
        const fresh = await Party.udp(server.udp[0]!)
        await fresh.challenge()
        parties.push(fresh)
      }
    }
    await bothBeat()
    await expectUnharmed(OVER_UDP / BATCH)
    for (const party of parties) party.close()
  })

  it(`${OVER_TCP} over TCP, in pieces, to clients that read slowly`, async () => {
    const mutants = new Mutants(SEED + 1, sink.address().port)
    let left = OVER_TCP
    let disconnected = 0
    /** One connection after the other. */
    const connections = async (lane: number): Promise<void> => {
      while (left > 0) {
        const party = await Party.tcp(server.tcp[0]!)
        await party.allocate().catch(() => {})
        const credentials = party.credentials
        if (credentials === undefined) continue
        const { stream } = party
        // Of four lanes one reads nothing at all any more, and one only now and then.
        if (lane % 4 === 0) stream?.pause()
        // Whether what was sent last ended where a frame ends. One that has begun may swallow all that follows.
        let framed = true
        for (let sent = 0; sent < 400 && left > 0 && framed && !party.closed; ) {
          const frames: Buffer[] = []
          for (let i = 0; i < BATCH && (framed || mutants.random.below(4) > 0); i++, sent++, left--) {
            const mutant = mutants.next(credentials, true)
            frames.push(mutant.data)
            framed &&= mutant.framed
          }
          await inPieces(party, Buffer.concat(frames))
          await bothBeat()
          if (lane % 4 === 1) stream?.[mutants.random.below(2) === 0 ? 'pause' : 'resume']()
        }
        if (party.closed) disconnected++
        else if (lane % 4 > 1 && framed) await party.ask(message(BINDING, new Uint8Array(0))).catch(() => {})
        party.close()
      }
    }
    await Promise.all(Array.from({ length: 8 }, (_, lane) => connections(lane)))
    await bothBeat()
    expect(disconnected).toBeGreaterThan(10)
    expect(streamWitness.lost).toBe(0)
    await expectUnharmed(OVER_TCP / BATCH / 8)
  })

  /** Cut anywhere: in one piece, byte by byte at times, or in between. */
  async function inPieces(party: Party, bytes: Buffer): Promise<void> {
    const size = [bytes.length, 1_460, 97, 13, 4, 1][party.packetsOut % 6]!
    const fine = Math.min(bytes.length, size < 100 ? 60 * size : bytes.length)
    for (let at = 0; at < fine && !party.closed; at += size) {
      party.send(bytes.subarray(at, Math.min(at + size, fine)))
      if (size < 100) await setImmediate()
    }
    if (fine < bytes.length && !party.closed) party.send(bytes.subarray(fine))
  }
})
