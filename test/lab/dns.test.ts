import { describe, expect, test } from 'vitest'
import { createLab } from '../../src/lab/index.ts'

describe("the lab's names", () => {
  test('are answered in their order after a delay, whatever the case', async () => {
    const lab = createLab({ delay: 20 })
    lab.dns.set('Stun.example.net', ['203.0.113.9', '2001:db8::9', '203.0.113.8'])
    const { dns } = lab.host('a')
    expect(await lab.until(dns.lookup('stun.EXAMPLE.net'))).toEqual(['203.0.113.9', '2001:db8::9', '203.0.113.8'])
    expect(lab.clock.now()).toBe(40)
  })

  test('are answered by family when asked so', async () => {
    const lab = createLab()
    lab.dns.set('both.example', ['203.0.113.9', '2001:db8::9'])
    lab.dns.set('four.example', ['203.0.113.9'])
    const { dns } = lab.host('a')
    expect(await lab.until(dns.lookup('both.example', { family: 6 }))).toEqual(['2001:db8::9'])
    await expect(lab.until(dns.lookup('four.example', { family: 6 }))).rejects.toMatchObject({ code: 'ERR_DNS' })
  })

  test('that nobody has, or that were taken away, are ERR_DNS', async () => {
    const lab = createLab()
    const { dns } = lab.host('a')
    await expect(lab.until(dns.lookup('nobody.example'))).rejects.toMatchObject({ code: 'ERR_DNS' })
    lab.dns.set('gone.example', ['203.0.113.9'])
    lab.dns.set('gone.example', [])
    await expect(lab.until(dns.lookup('gone.example'))).rejects.toMatchObject({ code: 'ERR_DNS' })
  })

  test('are not answered by a silent resolver, and a signal ends the wait', async () => {
    const lab = createLab()
    lab.dns.set('slow.example', ['203.0.113.9'])
    lab.dns.delay = Number.POSITIVE_INFINITY
    const controller = new AbortController()
    const reason = new Error('enough')
    lab.after(5000, () => controller.abort(reason))
    await expect(lab.until(lab.host('a').dns.lookup('slow.example', { signal: controller.signal }))).rejects.toBe(reason)
    expect(lab.clock.now()).toBe(5000)
  })

  test('under .local are known on the LAN that their address is on, and nowhere else', async () => {
    const lab = createLab()
    const home = lab.router('home')
    const [a, b, elsewhere] = [
      lab.host('a', { behind: home }),
      lab.host('b', { behind: home }),
      lab.host('c', { behind: lab.router('other') }),
    ]
    lab.dns.set('b.local', [b.addresses[0]!.ip], 3)
    const signal = AbortSignal.any([])
    expect(await lab.until(a.dns.lookupLocal('B.local', { from: a.addresses, signal }))).toBe(b.addresses[0]!.ip)
    expect(lab.clock.now()).toBe(3)
    let heard = false
    for (const [dns, from] of [
      [elsewhere.dns, elsewhere.addresses],
      [lab.host('d').dns, lab.host('e').addresses],
      [a.dns, []],
    ] as const) {
      void dns.lookupLocal('b.local', { from, signal }).then(() => {
        heard = true
      })
    }
    await lab.run(60_000)
    expect(heard).toBe(false)
  })

  test('under .local are asked for again after 1, 3 and 7 s', async () => {
    const lab = createLab()
    const home = lab.router('home')
    const [a, b] = [lab.host('a', { behind: home }), lab.host('b', { behind: home })]
    const looking = a.dns.lookupLocal('b.local', { from: a.addresses, signal: AbortSignal.any([]) })
    lab.after(3_500, () => lab.dns.set('b.local', [b.addresses[0]!.ip], 0))
    await lab.until(looking)
    expect(lab.clock.now()).toBe(7_000)
  })

  test('have IP addresses or are refused at once', () => {
    expect(() => createLab().dns.set('x.example', ['not an address'])).toThrow(/not an IP address/)
  })
})

describe('fault filters', () => {
  test('see a packet as its sender sends it, and decide by the first that does not pass it', async () => {
    const lab = createLab({ delay: 0 })
    const host = lab.host('a', { behind: lab.router('home') })
    const socket = await host.bind({ family: 4, port: 5000 })
    const b = lab.host('b')
    const seen: string[] = []
    lab.filter(({ host: name, protocol, from, data }) => {
      seen.push(`${name} ${protocol} ${from.port} ${data.length}`)
      return undefined
    })
    const stop = lab.filter(() => 'drop')
    lab.filter(() => {
      throw new Error('not asked')
    })
    socket.send(new Uint8Array(3), b.addresses[0]!.withPort(1))
    expect(seen).toEqual(['a udp 5000 3'])
    expect(lab.trace.counters('a').drops).toEqual({ fault: 1 })
    stop()
    stop()
  })

  test('can delay and double', async () => {
    const lab = createLab({ delay: 0 })
    const [a, b] = [await lab.host('a').bind({ family: 4 }), lab.host('b')]
    const times: number[] = []
    const receiver = await b.bind({ family: 4, port: 5000 })
    receiver.handle({ datagram: () => times.push(lab.clock.now()), sendFailed() {}, drained() {}, lost() {} })
    const stop = lab.filter(() => ({ delay: 7 }))
    a.send(new Uint8Array(1), b.addresses[0]!.withPort(5000))
    stop()
    lab.filter(() => ({ duplicate: 2 }))
    a.send(new Uint8Array(1), b.addresses[0]!.withPort(5000))
    await lab.run(10)
    expect(times).toEqual([0, 0, 0, 7])
  })
})
