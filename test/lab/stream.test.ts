import { describe, expect, test } from 'vitest'
import { createLab, type Lab, type LabHost, nat, type Router } from '../../src/lab/index.ts'
import type { Address, Stream } from '../../src/net/index.ts'

interface End {
  readonly stream: Stream
  text: string
  closed: boolean
  reason: string | undefined
}

function follow(stream: Stream): End {
  const end: End = { stream, text: '', closed: false, reason: undefined }
  stream.handle({
    data: (chunk) => {
      end.text += new TextDecoder().decode(chunk)
    },
    drained: () => {},
    closed: (reason) => {
      expect(end.closed).toBe(false)
      end.closed = true
      end.reason = reason?.message
    },
  })
  return end
}

/** A server that collects its streams, and one stream to it. */
async function connect(lab: Lab, from: LabHost, to: LabHost, address?: Address): Promise<{ client: End; server: End }> {
  const accepted: End[] = []
  const listener = await to.listen({ family: 4 }, (stream) => accepted.push(follow(stream)))
  const dialled = from.streams.dial({ to: (address ?? to.addresses[0]!).withPort(listener.local.port) })
  const client = follow(await lab.until(dialled))
  await lab.run(1000)
  return { client, server: accepted[0]! }
}

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)

async function home(): Promise<{ lab: Lab; router: Router; client: End; server: End }> {
  const lab = createLab()
  const router = lab.router('home', { nat: nat.symmetricRandom })
  return { lab, router, ...(await connect(lab, lab.host('a', { behind: router }), lab.host('b'))) }
}

describe('a stream', () => {
  test('stands after one round trip', async () => {
    const lab = createLab({ delay: 25 })
    const [a, b] = [lab.host('a'), lab.host('b')]
    const { local } = await b.listen({ family: 4 }, () => {})
    const start = lab.clock.now()
    await lab.until(a.streams.dial({ to: b.addresses[0]!.withPort(local.port) }))
    expect(lab.clock.now() - start).toBe(50)
  })

  test("shows the server the NAT's address", async () => {
    const { router, client, server } = await home()
    expect(server.stream.remote.ip).toBe(router.addresses[0]!.ip)
    expect(client.stream.local.ip).not.toBe(server.stream.remote.ip)
  })

  test('brings everything in order through loss, reordering and duplication', async () => {
    const lab = createLab({ loss: 0.2, reorder: 0.2, duplicate: 0.2, jitter: 10 })
    const { client, server } = await connect(lab, lab.host('a'), lab.host('b'))
    const sent = Array.from({ length: 3000 }, (_, i) => `line ${i}\n`).join('')
    client.stream.write(bytes(sent))
    client.stream.end()
    await lab.run(120_000)
    expect(server.text).toBe(sent)
    expect([server.closed, server.reason]).toEqual([true, undefined])
  })

  test('finishes what the other side still had to say after an end', async () => {
    const lab = createLab()
    const answer = 'more than is under way at once '.repeat(10_000)
    const [a, b] = [lab.host('a'), lab.host('b')]
    const { local } = await b.listen({ family: 4 }, (stream) => {
      stream.handle({ data: () => stream.write(bytes(answer)), drained: () => {}, closed: () => {} })
    })
    const client = follow(await lab.until(a.streams.dial({ to: b.addresses[0]!.withPort(local.port) })))
    client.stream.write(bytes('question'))
    client.stream.end()
    await lab.run(1000)
    expect(client).toMatchObject({ text: answer, closed: true, reason: undefined })
  })

  test('sends nothing twice on a long path without loss', async () => {
    const lab = createLab({ delay: 300 })
    const { client, server } = await connect(lab, lab.host('a'), lab.host('b'))
    await lab.run(5000)
    const before = lab.trace.counters('a').sent
    client.stream.write(bytes('once'))
    await lab.run(5000)
    expect(server.text).toBe('once')
    expect(lab.trace.counters('a').sent - before).toBe(1)
  })

  test('sends what was lost again after twice the round trip, however late in the run', async () => {
    const lab = createLab({ delay: 150 })
    await lab.run(1_000_000)
    const { client, server } = await connect(lab, lab.host('a'), lab.host('b'))
    let lost = 0
    lab.filter(({ host, data }) => (host === 'a' && data.length > 0 && lost++ === 0 ? 'drop' : 'pass'))
    client.stream.write(bytes('again'))
    await lab.run(749)
    expect(server.text).toBe('')
    await lab.run(1)
    expect(server.text).toBe('again')
  })

  test('resets the other side when it is destroyed', async () => {
    const { lab, client, server } = await home()
    client.stream.destroy()
    await lab.run(100)
    expect([client.closed, client.reason]).toEqual([true, undefined])
    expect([server.closed, server.reason]).toEqual([true, 'ECONNRESET'])
  })

  test('is refused at once where nobody listens, and times out where nobody is', async () => {
    const lab = createLab()
    const [a, b] = [lab.host('a'), lab.host('b')]
    const nobody = b.addresses[0]!.withPort(1)
    await expect(lab.until(a.streams.dial({ to: nobody }))).rejects.toMatchObject({ code: 'ERR_DIAL', cause: { code: 'ECONNREFUSED' } })
    expect(lab.clock.now()).toBe(40)
    b.moveTo(lab.router('home'))
    await expect(lab.until(a.streams.dial({ to: nobody }))).rejects.toMatchObject({ code: 'ERR_DIAL', cause: { code: 'ETIMEDOUT' } })
  })

  test('is refused without a route', async () => {
    const lab = createLab()
    const a = lab.host('a', { behind: lab.segment('table') })
    const dialled = a.streams.dial({ to: lab.host('b').addresses[0]!.withPort(1) })
    await expect(lab.until(dialled)).rejects.toMatchObject({ code: 'ERR_DIAL', cause: { code: 'ENETUNREACH' } })
  })

  test('is not accepted through a NAT that nobody inside has opened', async () => {
    const lab = createLab()
    const router = lab.router('home')
    const inside = lab.host('a', { behind: router })
    await inside.listen({ family: 4, port: 80 }, () => {})
    const dialled = lab.host('b').streams.dial({ to: router.addresses[0]!.withPort(80) })
    await expect(lab.until(dialled)).rejects.toMatchObject({ cause: { code: 'ETIMEDOUT' } })
  })

  test('is accepted through a forward', async () => {
    const lab = createLab()
    const router = lab.router('home')
    const inside = lab.host('a', { behind: router })
    await inside.listen({ family: 4, port: 80 }, () => {})
    router.forward('tcp', 8080, inside.addresses[0]!.withPort(80))
    const stream = await lab.until(lab.host('b').streams.dial({ to: router.addresses[0]!.withPort(8080) }))
    expect(stream.remote.port).toBe(8080)
  })

  test('outlives silence for an hour', async () => {
    const { lab, client, server } = await home()
    await lab.run(3_600_000)
    server.stream.write(bytes('still there?'))
    await lab.run(100)
    expect(client.text).toBe('still there?')
  })

  test('is reset when it speaks after its NAT has rebooted', async () => {
    const { lab, router, client } = await home()
    router.reboot()
    client.stream.write(bytes('hello?'))
    await lab.run(100)
    expect([client.closed, client.reason]).toEqual([true, 'ECONNRESET'])
  })

  test('dies of silence when only the other side speaks after the reboot', async () => {
    const { lab, router, client, server } = await home()
    router.reboot()
    server.stream.write(bytes('hello?'))
    await lab.run(20_000)
    expect(server.closed).toBe(false)
    await lab.run(20_000)
    expect([server.closed, server.reason]).toEqual([true, 'ETIMEDOUT'])
    expect(client.closed).toBe(false)
  })

  test('is lost when its host roams', async () => {
    const lab = createLab()
    const a = lab.host('a')
    const { client } = await connect(lab, a, lab.host('b'))
    a.moveTo(lab.router('home'))
    await lab.run(1)
    expect([client.closed, client.reason]).toEqual([true, 'ENETDOWN'])
  })

  test('survives a short sleep of its host', async () => {
    const lab = createLab()
    const a = lab.host('a')
    const { client, server } = await connect(lab, a, lab.host('b'))
    a.suspend(3000)
    server.stream.write(bytes('good morning'))
    await lab.run(10_000)
    expect(client.text).toBe('good morning')
  })

  test('keeps what comes before it has a handler', async () => {
    const lab = createLab()
    const [a, b] = [lab.host('a'), lab.host('b')]
    const { local } = await b.listen({ family: 4 }, (stream) => {
      stream.handle({ data: () => {}, drained: () => {}, closed: () => {} })
      stream.write(bytes('early'))
      stream.end()
    })
    const stream = await lab.until(a.streams.dial({ to: b.addresses[0]!.withPort(local.port) }))
    await lab.run(1000)
    const late = follow(stream)
    await lab.run(1)
    expect(late).toMatchObject({ text: 'early', closed: true, reason: undefined })
  })

  test('answers a repeated SYN when its answer was lost', async () => {
    const lab = createLab()
    const [a, b] = [lab.host('a'), lab.host('b')]
    let lost = 0
    lab.filter(({ host }) => (host === 'b' && lost++ === 0 ? 'drop' : 'pass'))
    const { client, server } = await connect(lab, a, b)
    client.stream.write(bytes('x'))
    server.stream.write(bytes('y'))
    await lab.run(100)
    expect([server.text, client.text]).toEqual(['x', 'y'])
  })
})
