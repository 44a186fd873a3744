/**
 * Two whole WebRTC stacks that speak DTLS to each other, end to end, through our side, which has a session with each and passes every datagram
 * of one on to the other.
 */
import type { Session, Signal, Traversal } from '../../src/index.ts'
import { type Foreign, type LineProcess, type StartOptions, startAgent } from './foreign-agent.ts'

export interface Leg {
  readonly session: Session
  readonly agent: LineProcess
}

/** What our side is told of the agents' roles: what they say, or the opposite. */
export type Claim = 'truth' | 'opposite'

export type End = readonly [Foreign, StartOptions]

/** Starts both. One has to be controlling: who offers is the first to have a fingerprint, and the other one needs it. */
export function bridge(traversal: Traversal, ends: readonly [End, End], claim: Claim = 'truth'): readonly [Leg, Leg] {
  const [one, two] = ends.map(
    ([foreign, options], i): Leg => ({ session: traversal.connect({ peer: String(i) }), agent: startAgent(foreign, options) }),
  ) as [Leg, Leg]
  for (const [from, to] of [
    [one, two],
    [two, one],
  ] as const) {
    carrySignals(from, to, claim)
    from.session.on('message', (data) => void to.session.send(data))
  }
  return [one, two]
}

/** Resolves when the data of each has been answered by the other. */
export async function bridged(legs: readonly [Leg, Leg], [[one], [two]]: readonly [End, End]): Promise<void> {
  await Promise.all([legs[0].agent.received(`pong ping ${one.name}`), legs[1].agent.received(`pong ping ${two.name}`)])
}

/** Takes what the agent behind says, and tells this one of our side only once the fingerprint of that is known. */
function carrySignals({ session, agent }: Leg, behind: Leg, claim: Claim): void {
  let last: Signal | undefined
  let fingerprint: string | undefined
  const tell = (): void => {
    if (last !== undefined && fingerprint !== undefined) agent.signal({ ...last, fingerprint })
  }
  session.on('signal', (signal) => {
    last = signal
    tell()
  })
  behind.agent.onSignal((signal) => {
    behind.session.signal({ ...signal, controlling: signal.controlling === (claim === 'truth') })
    if (fingerprint === signal.fingerprint) return
    fingerprint = signal.fingerprint
    tell()
  })
}
