import { createConnection } from 'node:net'
import { fileURLToPath } from 'node:url'
import { describe, expect, it, onTestFinished } from 'vitest'
import { carrySignals, Program } from '../cli/peers.ts'

function example(path: string, ...args: readonly string[]): Program {
  return new Program(fileURLToPath(new URL(`../../examples/${path}`, import.meta.url)), args)
}

describe('examples/cli-peer', () => {
  it.each([
    ['another one', () => example('cli-peer/peer.js', '--loopback')],
    ['sallyport connect --json', () => Program.sallyport('connect', '--json', '--loopback')],
  ])('connects to %s, carries data both ways, and leaves when its input ends', async (_what, other) => {
    const [a, b] = [example('cli-peer/peer.js', '--loopback'), other()]
    carrySignals(a, b)
    carrySignals(b, a)
    expect(await a.json('done')).toMatchObject({ done: true, ms: expect.any(Number), direct: true })
    expect(await b.json('done')).toMatchObject({ done: true, direct: true })
    a.end()
    b.end()
    expect([await a.exit, await b.exit]).toEqual([0, 0])
    expect([a.errors, b.errors]).toEqual(['', ''])
  })
})

describe('examples/chat', () => {
  it('talks after each side has pasted the code of the other, and ends on both when one leaves', async () => {
    const [a, b] = [example('chat/chat.js', '--loopback'), example('chat/chat.js', '--loopback')]
    const code = (program: Program): Promise<string> => program.find((line) => (/^[\w-]{100,}$/.test(line) ? line : undefined))
    const [codeA, codeB] = await Promise.all([code(a), code(b)])
    a.write('what?')
    await a.text('That is not a code')
    b.write(codeA)
    a.write(codeB)
    await Promise.all([a.text('Connected: direct'), b.text('Connected: direct')])
    a.write('hello from a')
    expect(await b.text('> ')).toBe('> hello from a')
    b.write('hello from b')
    expect(await a.text('> ')).toBe('> hello from b')
    a.write('/bye')
    await b.text('The other side left.')
    expect([await a.exit, await b.exit]).toEqual([0, 0])
    expect([a.errors, b.errors]).toEqual(['', ''])
  })
})

describe('examples/room', () => {
  interface Room {
    readonly port: number
    readonly relay: Program
    enter(name: string, ...args: readonly string[]): Program
  }

  async function openRoom(at = 0): Promise<Room> {
    const relay = example('room/relay.js', String(at))
    onTestFinished(() => relay.kill('SIGKILL'))
    const [place = '', port] = /127\.0\.0\.1:(\d+)/.exec(await relay.text('The room is open')) ?? []
    return {
      port: Number(port),
      relay,
      enter(name, ...args) {
        const peer = example('room/peer.js', name, '--loopback', '--relay', place, ...args)
        onTestFinished(() => peer.kill('SIGKILL'))
        return peer
      },
    }
  }

  /** Waits for the nth line that begins so. */
  function nth(program: Program, beginning: string, n: number): Promise<string> {
    let seen = 0
    return program.find((line) => (line.startsWith(beginning) && ++seen === n ? line : undefined))
  }

  it('lets everybody talk to everybody; who leaves can come back, and the others go on', async () => {
    const { enter } = await openRoom()
    const [ann, bob, cem] = [enter('ann'), enter('bob'), enter('cem')]
    await Promise.all(
      [ann, bob, cem].flatMap((one) =>
        [ann, bob, cem].filter((other) => other !== one).map((other) => one.text(`${nameOf(other)} is here: direct`)),
      ),
    )
    ann.write('hello')
    expect(await Promise.all([bob.text('ann> '), cem.text('ann> ')])).toEqual(['ann> hello', 'ann> hello'])

    bob.write('/leave')
    await Promise.all([ann.text('bob left'), cem.text('bob left')])
    cem.write('without bob')
    expect(await ann.text('cem> ')).toBe('cem> without bob')
    bob.write('/join')
    await Promise.all([nth(ann, 'bob is here', 2), nth(cem, 'bob is here', 2), nth(bob, 'ann is here', 2), nth(bob, 'cem is here', 2)])
    bob.write('back again')
    expect(await Promise.all([ann.text('bob> '), cem.text('bob> ')])).toEqual(['bob> back again', 'bob> back again'])
    expect(bob.lines.join()).not.toContain('without bob')

    cem.kill('SIGINT')
    await Promise.all([ann.text('cem left'), bob.text('cem left')])
    bob.end()
    await ann.text('bob left')
    ann.end()
    expect(await Promise.all([ann.exit, bob.exit, cem.exit])).toEqual([0, 0, 0])
    expect([ann.errors, bob.errors, cem.errors]).toEqual(['', '', ''])

    function nameOf(program: Program): string {
      return program === ann ? 'ann' : program === bob ? 'bob' : 'cem'
    }
  })

  it('gives up on who does not answer, and says why', async () => {
    const { port, enter } = await openRoom()
    const ann = enter('ann', '--patience', '0.5')
    // In the room, and takes no signals.
    const silent = createConnection(port, '127.0.0.1')
    onTestFinished(() => void silent.destroy())
    silent.write('{"join":"silent"}\n')
    await ann.text('Gave up on silent. Session with silent: closed')
    await ann.text('No signal of the peer’s has come')
    ann.end()
    expect(await ann.exit).toBe(0)
  })

  it('goes on while the relay is away, and takes newcomers when it is back', async () => {
    const { port, relay, enter } = await openRoom()
    const [ann, bob] = [enter('ann'), enter('bob')]
    await Promise.all([ann.text('bob is here'), bob.text('ann is here')])
    relay.kill('SIGKILL')
    await relay.exit
    ann.write('no relay')
    expect(await bob.text('ann> ')).toBe('ann> no relay')
    await openRoom(port)
    const cem = enter('cem')
    await Promise.all([ann.text('cem is here'), bob.text('cem is here')])
    ann.write('all of you')
    await Promise.all([bob.text('all of you'), cem.text('all of you')])
    expect([...ann.lines, ...bob.lines].filter((line) => / left| gone/.test(line))).toEqual([])
  })

  it('has one of each name', async () => {
    const { enter } = await openRoom()
    const ann = enter('ann')
    const bob = enter('bob')
    await ann.text('bob is here')
    const other = enter('ann')
    await other.text('somebody has it')
    other.end()
    expect(await other.exit).toBe(0)
    ann.write('still me')
    expect(await bob.text('ann> ')).toBe('ann> still me')
  })
})
