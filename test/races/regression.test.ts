/** Schedules that broke a rule once, as small as they could be made. Everything that `storm.ts` checks has to hold in them. */
import { describe, it } from 'vitest'
import type { Action, SignalFate, World } from './schedule.ts'
import { storm } from './storm.ts'

const QUIET: World = {
  seed: 1,
  places: ['public', 'public'],
  homes: [1, 1],
  together: false,
  other: 'nobody',
  roles: 'settled',
  late: 0,
  stun: 0,
  signals: [],
  packets: [],
  ending: 'calm',
  closing: 'traversals',
}

const HOME = { places: ['port-restricted', 'port-restricted'] } as const

/** One that arrives once, so many milliseconds later. */
function late(delay: number): SignalFate {
  return { delay, copies: 1, doubled: false }
}

/** The first session's, unless it says otherwise; `at` milliseconds from the start. */
function play(world: Partial<World>, ...steps: readonly (readonly [at: number, action: Action])[]): Promise<void> {
  return storm({
    world: { ...QUIET, ...world },
    steps: steps.map(([at, action], i) => ({ after: at - (steps[i - 1]?.[0] ?? 0), action })),
  })
}

const A = { link: 0, side: 0 } as const
const B = { link: 0, side: 1 } as const
const SECOND_B = { link: 1, side: 1 } as const

describe('races that were lost once', () => {
  it('C62 checks and answers of a past generation, still on their way after restarts, are not delivered as data', () =>
    play({ seed: 33536, ending: 'restarts' }))

  it('C61 restarts in quick succession keep every generation on which the peer may still send', () =>
    play({ ...HOME, homes: [1, 2], seed: 15, other: 'third', ending: 'restarts' }))

  it('C53 a nomination holds for another agent of the peer’s with the same credentials, too', () =>
    play(
      {
        places: ['port-restricted', 'public'],
        seed: 44678,
        signals: [late(40), late(40), late(2_623), { ...late(2_251), copies: 2 }, { ...late(0), copies: 0 }, { ...late(0), copies: 0 }],
      },
      [94, { do: 'close', ...B }],
      [103, { do: 'add', place: 0, ...A }],
      [224, { do: 'connect', ...B }],
    ))

  it('C70 a spare that is valid stays its session’s, however long ago it was asked', () =>
    play({
      places: ['public', 'port-restricted'],
      seed: 24905,
      other: 'twin',
      late: 52,
      signals: [{ ...late(59), doubled: true }, late(2_574)],
      packets: ['drop', 'twice'],
    }))

  it('C70 C36 an address whose check was answered before the signal came belongs to that session', () =>
    play({ ...HOME, seed: 10583, together: true, other: 'twin', signals: [late(40), late(2_742), late(63)] }))

  it('C70 C36 a check that came before the signal takes no address that another session uses by then', () =>
    play({ seed: 24240, other: 'twin', signals: [late(3_265), late(40)] }, [18, { do: 'restart', ...A }], [1_196, { do: 'connect', ...A }]))

  it('C70 C58 what came while two sessions contested an address is kept for neither', () =>
    play(
      { ...HOME, seed: 52428, other: 'twin', late: 44, signals: [late(40), late(1_632), late(2_649), ...Array(5).fill(late(40))] },
      [10_469, { do: 'move', place: 2, ...SECOND_B }],
      [10_783, { do: 'send', count: 2, ...B }],
      [11_334, { do: 'reboot', renumber: true, downFor: 3, ...A }],
    ))

  it('C70 an address that changed sessions is asked again before it carries data, since the peer may have closed one meanwhile', () =>
    play(
      {
        places: ['restricted', 'cone'],
        homes: [2, 1],
        seed: 0,
        other: 'twin',
        signals: [late(40), late(80), { ...late(96), doubled: true }, { ...late(0), copies: 0 }],
      },
      [56, { do: 'restart', ...A }],
      [56, { do: 'restart', ...A }],
      [81, { do: 'send', count: 1, ...A }],
      [81, { do: 'restart', ...SECOND_B }],
      [160, { do: 'send', count: 1, ...B }],
      [216, { do: 'close', ...A }],
    ))

  it('C53 a nomination outdoes those of an earlier agent of ours with the same credentials', () =>
    play(
      {
        seed: 0,
        late: 6,
        signals: [{ ...late(446), doubled: true }, { delay: 0, copies: 2, doubled: true }, late(40), late(40), late(30)],
        packets: ['pass', 'twice', 7],
      },
      [5, { do: 'add', place: 0, ...A }],
      [5, { do: 'close', ...A }],
      [40, { do: 'close', ...B }],
      [40, { do: 'move', place: 1, ...A }],
      [45, { do: 'connect', ...B }],
      [91, { do: 'connect', ...A }],
      [281, { do: 'move', place: 1, ...A }],
    ))
})
