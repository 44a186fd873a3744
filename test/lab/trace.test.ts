import { execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { createLab, type Lab, nat } from '../../src/lab/index.ts'
import { open, say } from './talk.ts'

/** A bit of everything, so that a trace has something to tell. */
async function play(seed: number): Promise<Lab> {
  const lab = createLab({ seed, families: [4, 6], jitter: 5, loss: 0.1, duplicate: 0.1, reorder: 0.1 })
  lab.trace.start()
  const server = await open(lab.host('server'))
  const six = await open(lab.host('six'), { family: 6 })
  const homes = [lab.router('home a', { nat: nat.symmetricRandom }), lab.router('home b', { nat: 'linux' })]
  const talkers = await Promise.all(homes.map((behind, i) => open(lab.host(`host ${i}`, { behind }))))
  for (const talker of talkers) talker.socket.setHopLimit(20)
  for (let i = 0; i < 20; i++) {
    for (const talker of talkers) say(talker, server.address, `message ${i}`)
    for (const { from } of server.heard.slice(-2)) say(server, from, 'answer')
    say(await open(talkers[0]!.host, { family: 6 }), six.address, 'six')
    await lab.run(30)
  }
  const listener = await server.host.listen({ family: 4 }, (stream) => stream.handle({ data() {}, drained() {}, closed() {} }))
  const stream = await lab.until(talkers[0]!.host.streams.dial({ to: server.address.withPort(listener.local.port) }))
  stream.write(new TextEncoder().encode('over TCP'))
  stream.end()
  await lab.run(5000)
  return lab
}

describe('determinism', () => {
  test('the same seed gives the same trace to the byte, text and capture', async () => {
    const [one, other] = [await play(42), await play(42)]
    expect(one.trace.records.length).toBeGreaterThan(200)
    expect(other.trace.text()).toBe(one.trace.text())
    expect(Buffer.from(other.trace.pcapng()).equals(Buffer.from(one.trace.pcapng()))).toBe(true)
  })

  test('another seed gives another trace', async () => {
    expect((await play(43)).trace.text()).not.toBe((await play(42)).trace.text())
  })

  test("a host that is added draws nothing from the others' chance", async () => {
    const losses = async (extra: boolean): Promise<string[]> => {
      const lab = createLab({ loss: 0.5 })
      const [a, b] = [await open(lab.host('a')), await open(lab.host('b'))]
      const c = extra ? await open(lab.host('c')) : undefined
      for (let i = 0; i < 50; i++) {
        say(a, b.address, String(i))
        if (c !== undefined) say(c, a.address, 'noise')
        await lab.run(10)
      }
      return b.heard.map(({ text }) => text)
    }
    expect(await losses(true)).toEqual(await losses(false))
  })
})

describe('the trace', () => {
  async function oneDrop(): Promise<Lab> {
    const lab = createLab()
    const server = await open(lab.host('server'), { port: 3478 })
    const a = await open(lab.host('a', { behind: lab.router('home') }), { port: 5000 })
    lab.trace.start()
    say(a, server.address, 'hello')
    await lab.run(50)
    say(server, server.heard[0]!.from.withPort(9), 'nobody')
    await lab.run(50)
    return lab
  }

  test("tells each packet's way, and why it ended", async () => {
    const lab = await oneDrop()
    expect(lab.trace.text().split('\n')).toEqual([
      '       0.000 a            send    udp 192.168.1.2:5000 > 203.0.113.1:3478 ttl 64 length 5',
      '       0.125 home         forward udp 203.0.113.2:5000 > 203.0.113.1:3478 ttl 63 length 5',
      '      20.125 server       receive udp 203.0.113.2:5000 > 203.0.113.1:3478 ttl 55 length 5',
      '      50.000 server       send    udp 203.0.113.1:3478 > 203.0.113.2:9 ttl 64 length 6',
      '      70.000 home         drop    udp 203.0.113.1:3478 > 203.0.113.2:9 ttl 55 length 6 (no-mapping)',
      '',
    ])
  })

  test('counts by host and router whether it records or not', async () => {
    const lab = await oneDrop()
    expect(lab.trace.counters('server')).toEqual({ sent: 1, received: 1, forwarded: 0, dropped: 0, drops: {} })
    expect(lab.trace.counters('home')).toEqual({ sent: 0, received: 0, forwarded: 1, dropped: 1, drops: { 'no-mapping': 1 } })
    lab.trace.stop()
    lab.trace.clear()
    say(await open(lab.host('b')), lab.host('c').addresses[0]!.withPort(1), 'x')
    await lab.run(50)
    expect(lab.trace.records).toEqual([])
    expect(lab.trace.counters('c').drops).toEqual({ 'no-socket': 1 })
    expect(lab.trace.drops()).toEqual({ 'no-mapping': 1, 'no-socket': 1 })
  })

  test('does not know a name that nobody has', () => {
    expect(() => createLab().trace.counters('nobody')).toThrow(RangeError)
  })

  test('keeps the bytes as they were when a receiver writes to its own', async () => {
    const lab = createLab()
    lab.trace.start()
    const [a, b] = [await open(lab.host('a')), await open(lab.host('b'))]
    b.socket.handle({ datagram: (data) => data.fill(0), sendFailed() {}, drained() {}, lost() {} })
    say(a, b.address, 'kept')
    await lab.run(50)
    expect(lab.trace.records.map(({ data }) => new TextDecoder().decode(data))).toEqual(['kept', 'kept'])
  })

  describe('as pcapng', () => {
    interface Block {
      readonly type: number
      readonly body: DataView
    }

    function blocks(file: Uint8Array): Block[] {
      const view = new DataView(file.buffer, file.byteOffset, file.byteLength)
      const result: Block[] = []
      for (let at = 0; at < file.length; ) {
        const length = view.getUint32(at + 4, true)
        expect(length % 4).toBe(0)
        expect(view.getUint32(at + length - 4, true)).toBe(length)
        result.push({ type: view.getUint32(at, true), body: new DataView(file.buffer, file.byteOffset + at + 8, length - 12) })
        at += length
      }
      return result
    }

    test('begins with a section header, then has an interface for each device and a packet for each record', async () => {
      const lab = await oneDrop()
      const [section, ...rest] = blocks(lab.trace.pcapng())
      expect(section!.type).toBe(0x0a0d0d0a)
      expect(section!.body.getUint32(0, true)).toBe(0x1a2b3c4d)
      expect([section!.body.getUint16(4, true), section!.body.getUint16(6, true)]).toEqual([1, 0])
      expect(rest.map(({ type }) => type)).toEqual([1, 1, 1, 6, 6, 6, 6, 6])
      expect(rest[0]!.body.getUint16(0, true)).toBe(101)
    })

    test('has the time in microseconds since 1970', async () => {
      const lab = await oneDrop()
      const packet = blocks(lab.trace.pcapng()).filter(({ type }) => type === 6)[1]!.body
      const micros = (BigInt(packet.getUint32(4, true)) << 32n) | BigInt(packet.getUint32(8, true))
      expect(micros).toBe(BigInt(Date.UTC(2026, 0)) * 1000n + 125n)
    })

    const tshark = '/usr/bin/tshark'
    test.skipIf(!existsSync(tshark))(`is read by ${tshark} without a complaint, checksums included`, { timeout: 30_000 }, async () => {
      const lab = await play(1)
      const folder = mkdtempSync(join(tmpdir(), 'lab-trace-'))
      try {
        const file = join(folder, 'trace.pcapng')
        writeFileSync(file, lab.trace.pcapng())
        const check = ['ip.check_checksum', 'udp.check_checksum', 'tcp.check_checksum'].flatMap((name) => ['-o', `${name}:TRUE`])
        const read = (...args: string[]): string[] => {
          const output = execFileSync(tshark, ['-r', file, ...check, ...args], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] })
          return output.split('\n').filter((line) => line !== '')
        }
        const rows = read(
          '-T',
          'fields',
          ...['frame.interface_name', 'udp.srcport', 'tcp.srcport', 'frame.comment'].flatMap((name) => ['-e', name]),
        )
        expect(rows.length).toBe(lab.trace.records.length)
        lab.trace.records.forEach(({ at, protocol, from, event, reason }, i) => {
          const [name, udp, tcp, comment] = rows[i]!.split('\t')
          expect([name, protocol === 'udp' ? udp : tcp]).toEqual([at, String(from.port)])
          expect(comment).toBe(reason === undefined ? event : `${event}: ${reason}`)
        })
        expect(read('-Y', 'udp.checksum.status == 1 || tcp.checksum.status == 1').length).toBe(lab.trace.records.length)
        expect(read('-Y', '_ws.malformed || ip.checksum.status == 0 || udp.checksum.status == 0 || tcp.checksum.status == 0')).toEqual([])
      } finally {
        rmSync(folder, { recursive: true })
      }
    })
  })
})
