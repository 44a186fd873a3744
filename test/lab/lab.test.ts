import { describe, expect, test } from 'vitest'
import { createLab, type nat } from '../../src/lab/index.ts'
import type { Address, Network } from '../../src/net/index.ts'
import { open, say } from './talk.ts'

describe('a lab', () => {
  test('answers the question of its guide: how does my game behave behind a symmetric NAT', async () => {
    const startGame = ({ network, server: to }: { network: Network; server: Address }): { connected: Promise<string> } => {
      const connected = network.bind({ family: 4 }).then((own) => {
        const heard = new Promise<string>((resolve) => {
          own.handle({ datagram: (data) => resolve(new TextDecoder().decode(data)), sendFailed() {}, drained() {}, lost() {} })
        })
        own.send(new TextEncoder().encode('welcome'), to)
        return heard
      })
      return { connected }
    }

    const lab = createLab({ seed: 7 })
    const server = lab.host('server')
    const player = lab.host('player', { behind: lab.router('home', { nat: 'symmetricRandom' }) })

    const socket = await server.bind({ family: 4, port: 4000 })
    socket.handle({ datagram: (data, from) => socket.send(data, from), sendFailed() {}, drained() {}, lost() {} })

    const game = startGame({ network: player, server: server.addresses[0]!.withPort(4000) })
    expect(await lab.until(game.connected, { within: 5000 })).toBe('welcome')
    expect(lab.clock.now()).toBe(40.25)
  })

  test('carries a datagram between two public hosts in its delay', async () => {
    const lab = createLab({ delay: 20 })
    const a = await open(lab.host('a'))
    const b = await open(lab.host('b'))
    say(a, b.address, 'hello')
    await lab.run(19.9)
    expect(b.heard).toEqual([])
    await lab.run(0.1)
    expect(b.heard.map(({ text, time }) => [text, time])).toEqual([['hello', 20]])
    expect(b.heard[0]?.from.key).toBe(a.address.key)
  })

  test('lets two hosts behind symmetric and port-restricted NATs miss each other, and two port-restricted ones meet', async () => {
    const meets = async (left: keyof typeof nat, right: keyof typeof nat): Promise<boolean> => {
      const lab = createLab()
      const server = await open(lab.host('server'))
      const a = await open(lab.host('a', { behind: lab.router('home a', { nat: left }) }))
      const b = await open(lab.host('b', { behind: lab.router('home b', { nat: right }) }))
      say(a, server.address, 'who am I')
      say(b, server.address, 'who am I')
      await lab.run(100)
      const [seenA, seenB] = server.heard
      for (let i = 0; i < 3; i++) {
        say(a, a.heard.at(-1)?.from ?? seenB!.from, 'punch')
        say(b, b.heard.at(-1)?.from ?? seenA!.from, 'punch')
        await lab.run(100)
      }
      return a.heard.length > 0 && b.heard.length > 0
    }
    expect(await meets('portRestricted', 'portRestricted')).toBe(true)
    expect(await meets('portRestricted', 'symmetricRandom')).toBe(false)
    expect(await meets('addressRestricted', 'symmetricRandom')).toBe(true)
    expect(await meets('symmetricRandom', 'symmetricRandom')).toBe(false)
  })
})
