import { describe, expect, it } from 'vitest'
import { Timers } from '../../src/net/index.ts'
import { type Signal, type SignalContent, Signaller, type SignallerOutlet } from '../../src/signal/index.ts'
import { ManualClock, SeededRandom } from '../stun/manual-clock.ts'

class Speaker implements SignallerOutlet {
  readonly signaller: Signaller
  readonly said: { readonly at: number; readonly signal: Signal }[] = []
  content: SignalContent | undefined = { ufrag: 'abcd', pwd: 'p'.repeat(22), candidates: [] }
  listening = true
  connected = false
  onSignal: (signal: Signal) => void = () => {}
  readonly #clock: ManualClock

  constructor(clock: ManualClock, seed: number) {
    this.#clock = clock
    this.signaller = new Signaller(new Timers(clock), new SeededRandom(seed), this)
  }

  describe(): SignalContent | undefined {
    return this.content
  }

  giveSignal(signal: Signal): boolean {
    this.said.push({ at: this.#clock.now(), signal })
    this.onSignal(signal)
    return this.listening
  }

  settled(): boolean {
    return this.connected
  }

  get times(): number[] {
    return this.said.map(({ at }) => at)
  }

  get last(): Signal {
    return this.said.at(-1)?.signal as Signal
  }
}

const turn = (): Promise<void> => Promise.resolve()

describe('when a signal is due', () => {
  it('changes of one turn go out in one signal, after the turn', async () => {
    const a = new Speaker(new ManualClock(), 1)
    a.signaller.announce()
    a.signaller.announce()
    expect(a.said).toHaveLength(0)
    await turn()
    expect(a.said).toHaveLength(1)
    expect(a.last).toMatchObject({ v: 1, seq: 1, ask: true })
  })

  it('C74 an unheard one is said again after 1 s, then after twice as long each time, up to 30 s', async () => {
    const clock = new ManualClock()
    const a = new Speaker(clock, 1)
    a.signaller.announce()
    await turn()
    clock.advance(125_000)
    expect(a.times).toEqual([0, 1_000, 3_000, 7_000, 15_000, 31_000, 61_000, 91_000, 121_000])
    expect(new Set(a.said.map(({ signal }) => signal.seq))).toEqual(new Set([1]))
  })

  it('it is not said again once the peer acknowledged it', async () => {
    const clock = new ManualClock()
    const [a, b] = [new Speaker(clock, 1), new Speaker(clock, 2)]
    a.signaller.announce()
    await turn()
    b.signaller.receive(a.last)
    clock.advance(60)
    a.signaller.receive(b.last)
    clock.advance(100_000)
    expect(a.said.filter(({ signal }) => signal.ask)).toHaveLength(1)
    // What follows is its own answer to the peer's first word.
    expect(a.said).toHaveLength(2)
  })

  it('nor once there is a path', async () => {
    const clock = new ManualClock()
    const a = new Speaker(clock, 1)
    a.signaller.announce()
    await turn()
    a.connected = true
    clock.advance(100_000)
    expect(a.said).toHaveLength(1)
    expect(clock.pending).toBe(0)
  })

  it('a new attempt starts again from the shortest wait', async () => {
    const clock = new ManualClock()
    const a = new Speaker(clock, 1)
    a.signaller.announce()
    await turn()
    clock.advance(20_000)
    a.signaller.hurry()
    await turn()
    clock.advance(3_500)
    expect(a.times.slice(-3)).toEqual([20_000, 21_000, 23_000])
  })

  it('one that nobody listened to is said to the first who listens', async () => {
    const a = new Speaker(new ManualClock(), 1)
    a.listening = false
    a.signaller.announce()
    await turn()
    a.listening = true
    a.signaller.listened()
    await turn()
    expect(a.said).toHaveLength(2)
    a.signaller.listened()
    await turn()
    expect(a.said).toHaveLength(2)
  })

  it('an answer without news waits a moment, and one answer does for several questions', async () => {
    const clock = new ManualClock()
    const [a, b] = [new Speaker(clock, 1), new Speaker(clock, 2)]
    a.signaller.announce()
    await turn()
    for (let i = 0; i < 3; i++) b.signaller.receive(a.last)
    expect(b.said).toHaveLength(0)
    clock.advance(60)
    expect(b.said).toHaveLength(1)
    expect(b.last).toMatchObject({ ack: 1 })
  })

  it('and is part of what is said anyway before that', async () => {
    const clock = new ManualClock()
    const [a, b] = [new Speaker(clock, 1), new Speaker(clock, 2)]
    a.signaller.announce()
    await turn()
    b.signaller.receive(a.last)
    b.signaller.announce()
    await turn()
    clock.advance(500)
    expect(b.times).toEqual([0])
  })

  it('two that have heard each other are silent: nobody answers an answer', async () => {
    const clock = new ManualClock()
    const [a, b] = [new Speaker(clock, 1), new Speaker(clock, 2)]
    a.onSignal = (signal) => b.signaller.receive(signal)
    b.onSignal = (signal) => a.signaller.receive(signal)
    a.signaller.announce()
    await turn()
    clock.advance(600_000)
    expect(a.said.length + b.said.length).toBeLessThanOrEqual(4)
    expect(clock.pending).toBe(0)
  })
})

describe('the last word', () => {
  it('says bye without candidates, and what comes after it is another incarnation', async () => {
    const a = new Speaker(new ManualClock(), 1)
    a.signaller.announce()
    await turn()
    const { id } = a.last
    a.signaller.farewell()
    expect(a.last).toMatchObject({ id, seq: 2, bye: true, candidates: [] })
    a.signaller.announce()
    await turn()
    expect(a.last.id).not.toBe(id)
    expect(a.last.seq).toBe(1)
  })

  it('is not said where there was no first one', () => {
    const a = new Speaker(new ManualClock(), 1)
    a.signaller.farewell()
    expect(a.said).toHaveLength(0)
  })

  it('is said once, even when it makes the listener say it again', async () => {
    const a = new Speaker(new ManualClock(), 1)
    a.onSignal = () => a.signaller.farewell()
    a.signaller.announce()
    await turn()
    expect(a.said.map(({ signal }) => signal.bye)).toEqual([undefined, true])
  })

  it('C69 leaves no timer, also when it is said from within a signal', async () => {
    const clock = new ManualClock()
    const a = new Speaker(clock, 1)
    a.onSignal = () => a.signaller.farewell()
    a.signaller.announce()
    await turn()
    expect(clock.pending).toBe(0)
    a.signaller.announce()
    a.signaller.stop()
    await turn()
    expect(clock.pending).toBe(0)
  })
})

describe('a peer that takes us for somebody else', () => {
  it('C74 hears something new of us within two seconds, even if all was said and heard', async () => {
    const clock = new ManualClock()
    const [a, b, old] = [new Speaker(clock, 1), new Speaker(clock, 2), new Speaker(clock, 3)]
    old.signaller.announce()
    await turn()
    old.signaller.stop()
    const late = { ...old.last, seq: 2 }
    b.signaller.receive(old.last)
    a.onSignal = (signal) => b.signaller.receive(signal)
    b.onSignal = (signal) => a.signaller.receive(signal)
    a.signaller.announce()
    await turn()
    clock.advance(5_000)
    expect(b.last.to).toBe(a.last.id)
    b.signaller.receive(late)
    clock.advance(2_000)
    expect(b.last.to).toBe(a.last.id)
    clock.advance(600_000)
    expect(clock.pending).toBe(0)
  })
})
