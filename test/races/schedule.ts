/**
 * What may happen to two peers, as data: a world, what becomes of each signal and packet, and the steps of the storm. fast-check draws it,
 * shrinks it, and prints it as text that can be read. What it does to the real thing is in `storm.ts`.
 */
import fc from 'fast-check'

/**
 * Where a host may be: what stands between it and the internet decides who may answer, and which port the peer sees. Nothing by UDP gets out of
 * a walled place.
 */
export type Place = 'public' | 'cone' | 'restricted' | 'port-restricted' | 'symmetric' | 'walled'

/** What becomes of a signal: how many milliseconds it takes, how often it arrives, each time later, and whether its lines are doubled. */
export interface SignalFate {
  readonly delay: number
  readonly copies: number
  readonly doubled: boolean
}

/** What becomes of a packet; a number holds it back for so many milliseconds, so that others overtake it. */
export type PacketFate = 'pass' | 'drop' | 'twice' | number

/** What there is of relays. */
export interface Relays {
  readonly count: 1 | 2
  /** Clients go there over a stream, or over UDP alone. */
  readonly stream: boolean
  /** The first one is served by the host that serves STUN. */
  readonly beside: boolean
  /** Only the first side knows of them. */
  readonly oneSided: boolean
  /** Milliseconds that credentials are good for; 0 for ever. */
  readonly credentials: number
  /** Milliseconds that the relay needs to find out a password. */
  readonly slow: number
}

export interface World {
  /** Of all chance in the lab: ports, credentials, tie-breakers. */
  readonly seed: number
  readonly places: readonly [Place, Place]
  /** Undefined where there are none, and then the places are such that none is needed. */
  readonly relays?: Relays
  /** Addresses of each host at the start. */
  readonly homes: readonly [number, number]
  /** Both behind one router, as far as there is one. */
  readonly together: boolean
  /** Who else there is: a third host with a session of its own, or a second session between the same two. */
  readonly other: 'nobody' | 'third' | 'twin'
  /** By tie-breakers in the signals, or both forced into the same one, as two foreign agents may be. */
  readonly roles: 'settled' | 'both controlling' | 'both controlled'
  /** Milliseconds by which the second side connects later. */
  readonly late: number
  /** Milliseconds by which the STUN server's answers are late: candidates come in one by one. */
  readonly stun: number
  /** In turn, again from the start when they run out. */
  readonly signals: readonly SignalFate[]
  readonly packets: readonly PacketFate[]
  /** How the storm ends: quiet; then restarts under traffic; or nothing gets through between the two any more. */
  readonly ending: 'calm' | 'restarts' | 'parted'
  /** Whether the sessions are closed one by one, or with their traversals. */
  readonly closing: 'sessions' | 'traversals'
}

/** Whom a step is about: an end of the first session, or of the second one if there is one. */
interface Whose {
  readonly link: number
  readonly side: number
}

export type Action =
  | ({ readonly do: 'restart' | 'close' | 'connect' | 'remove' } & Whose)
  | ({ readonly do: 'send'; readonly count: number } & Whose)
  | ({ readonly do: 'raw'; readonly count: number; readonly pick: number } & Whose)
  | ({ readonly do: 'replay' | 'stray'; readonly pick: number } & Whose)
  | ({ readonly do: 'move' | 'add'; readonly place: number } & Whose)
  | ({ readonly do: 'reboot'; readonly renumber: boolean; readonly downFor: number } & Whose)
  | ({ readonly do: 'sleep' | 'outage'; readonly for: number } & Whose)
  | RelayAction

/** What a relay does: says nothing for a while, or for good; ends, and starts again after a while with nothing of before; takes nobody new. */
export interface RelayAction {
  readonly do: 'silence' | 'die' | 'renew' | 'drain'
  readonly relay: number
  /** Milliseconds. */
  readonly for: number
}

export interface Step {
  /** Milliseconds since the last one. */
  readonly after: number
  readonly action: Action
}

export interface Schedule {
  readonly world: World
  readonly steps: readonly Step[]
}

const MOST_STEPS = 12

const whose = { link: fc.nat(1), side: fc.nat(1) }

/** Milliseconds at every scale at which something happens: one turn, one round trip, one consent. */
const pause = fc.oneof(
  { weight: 3, arbitrary: fc.constant(0) },
  { weight: 4, arbitrary: fc.nat(60) },
  { weight: 4, arbitrary: fc.nat(400) },
  { weight: 2, arbitrary: fc.nat(3_000) },
  { weight: 1, arbitrary: fc.nat(20_000) },
)

const pick = fc.nat(7)

const actions: readonly fc.WeightedArbitrary<Action>[] = [
  { weight: 5, arbitrary: fc.record({ do: fc.constant('restart' as const), ...whose }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('send' as const), count: fc.integer({ min: 1, max: 3 }), ...whose }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('raw' as const), count: fc.constant(1), pick, ...whose }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constantFrom('replay' as const, 'stray' as const), pick, ...whose }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('close' as const), ...whose }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('connect' as const), ...whose }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constantFrom('move' as const, 'add' as const), place: fc.nat(3), ...whose }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('remove' as const), ...whose }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('reboot' as const), renumber: fc.boolean(), downFor: pause, ...whose }) },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constantFrom('sleep' as const, 'outage' as const), for: fc.oneof(pause, fc.nat(45_000)), ...whose }),
  },
]

const action = fc.oneof(...actions)

const relayAction: fc.Arbitrary<RelayAction> = fc.record({
  do: fc.constantFrom('silence' as const, 'silence' as const, 'renew' as const, 'renew' as const, 'drain' as const, 'die' as const),
  relay: fc.nat(1),
  for: fc.oneof(pause, fc.nat(45_000)),
})

const actionWithRelays: fc.Arbitrary<Action> = fc.oneof(...actions, { weight: 5, arbitrary: relayAction })

const signalFate: fc.Arbitrary<SignalFate> = fc.record({
  delay: fc.oneof(fc.constant(40), fc.nat(100), fc.nat(4_000)),
  copies: fc.oneof(
    { weight: 4, arbitrary: fc.constant(1) },
    { weight: 1, arbitrary: fc.constant(2) },
    { weight: 1, arbitrary: fc.constant(0) },
  ),
  doubled: fc.oneof({ weight: 4, arbitrary: fc.constant(false) }, { weight: 1, arbitrary: fc.constant(true) }),
})

const packetFate: fc.Arbitrary<PacketFate> = fc.oneof(
  { weight: 6, arbitrary: fc.constant('pass' as const) },
  { weight: 2, arbitrary: fc.constant('drop' as const) },
  { weight: 1, arbitrary: fc.constant('twice' as const) },
  { weight: 2, arbitrary: fc.nat(200) },
)

const places: fc.Arbitrary<readonly [Place, Place]> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.tuple(
      fc.constantFrom<Place>('public', 'port-restricted', 'restricted', 'cone'),
      fc.constantFrom<Place>('public', 'port-restricted', 'restricted', 'cone'),
    ),
  },
  { weight: 1, arbitrary: fc.tuple(fc.constant<Place>('symmetric'), fc.constantFrom<Place>('public', 'cone')) },
)

const world = (others: readonly World['other'][]): fc.Arbitrary<World> =>
  fc.record({
    seed: fc.nat(0xffff),
    places,
    homes: fc.tuple(fc.constantFrom(1, 1, 1, 2), fc.constantFrom(1, 1, 1, 2)),
    together: fc.constantFrom(false, false, false, true),
    other: fc.constantFrom(...others),
    roles: fc.constantFrom('settled' as const, 'settled' as const, 'both controlling' as const, 'both controlled' as const),
    late: fc.oneof(fc.constant(0), pause),
    stun: fc.oneof({ weight: 3, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.nat(2_000) }),
    signals: fc.array(signalFate, { maxLength: 8 }),
    packets: fc.array(packetFate, { maxLength: 16 }),
    ending: fc.constantFrom(...Array<'calm'>(8).fill('calm'), 'restarts' as const, 'parted' as const),
    closing: fc.constantFrom('sessions' as const, 'traversals' as const),
  })

const relays: fc.Arbitrary<Relays> = fc.record({
  count: fc.constantFrom(1 as const, 2 as const),
  stream: fc.constantFrom(false, false, true),
  beside: fc.boolean(),
  oneSided: fc.constantFrom(false, false, false, true),
  credentials: fc.oneof({ weight: 2, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.integer({ min: 12_000, max: 60_000 }) }),
  slow: fc.oneof({ weight: 3, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.nat(600) }),
})

/** Where relays make up for what the places do not allow. */
const hardPlace = fc.constantFrom<Place>('public', 'port-restricted', 'restricted', 'cone', 'symmetric', 'symmetric', 'symmetric', 'walled')

const worldWithRelays = (others: readonly World['other'][]): fc.Arbitrary<World> =>
  fc.record({ drawn: world(others), relays, places: fc.tuple(hardPlace, hardPlace) }).map(({ drawn, relays, places: [a, b] }) => {
    const places = [a, b].map((place) => (place === 'walled' && !leadsOut(relays) ? 'symmetric' : place)) as [Place, Place]
    return { ...drawn, relays, places }
  })

/** Out of walled places, for both sides. */
export function leadsOut({ stream, oneSided }: Relays): boolean {
  return stream && !oneSided
}

/**
 * @param others which of them there may be
 * @param relayed whether there are relays in every schedule, or in none
 */
export const schedules = (others: readonly World['other'][], relayed: boolean): fc.Arbitrary<Schedule> =>
  fc.record({
    world: relayed ? worldWithRelays(others) : world(others),
    steps: fc.array(fc.record({ after: pause, action: relayed ? actionWithRelays : action }), { maxLength: MOST_STEPS, size: 'max' }),
  })

/** A schedule as a person reads it: one line for each thing that is not as it usually is. */
export function describe({ world, steps }: Schedule): string {
  const { seed, places, relays, homes, together, other, roles, late, stun, signals, packets, ending, closing } = world
  const lines = [`a: ${places[0]}, ${homes[0]} address(es); b: ${places[1]}, ${homes[1]} address(es); seed ${seed}`]
  if (relays !== undefined) lines.push(`relays: ${Object.entries(relays).flatMap(describeOption).join(', ')}`)
  if (together) lines.push('both behind one router')
  if (other !== 'nobody') lines.push(other === 'twin' ? 'a second session between the two' : 'a third host with a session to a')
  if (roles !== 'settled') lines.push(`roles: ${roles}`)
  if (late > 0) lines.push(`b connects ${late} ms later`)
  if (stun > 0) lines.push(`STUN answers ${stun} ms late`)
  if (signals.length > 0) lines.push(`signals: ${signals.map(describeFate).join(', ')}`)
  if (packets.length > 0) lines.push(`packets: ${packets.map((fate) => (typeof fate === 'number' ? `+${fate} ms` : fate)).join(', ')}`)
  let at = 0
  for (const { after, action } of steps) {
    at += after
    const { do: what, ...rest } = action
    const { link, side, relay, ...details } = rest as Partial<Whose & RelayAction>
    const detail = Object.entries(details).map(([name, value]) => `${name} ${value}`)
    const who = relay === undefined ? `${link === 0 ? '' : 'second session, '}${'ab'[side ?? 0]}` : `relay ${relay}`
    lines.push(`${String(at).padStart(7)} ms  ${who}: ${[what, ...detail].join(', ')}`)
  }
  lines.push(`then: ${ending}; closes ${closing}`)
  return lines.join('\n')
}

function describeOption([name, value]: readonly [string, unknown]): readonly string[] {
  return value === false || value === 0 ? [] : [value === true ? name : `${name} ${value}`]
}

function describeFate({ delay, copies, doubled }: SignalFate): string {
  if (copies === 0) return 'lost'
  return `${delay} ms${copies > 1 ? ` × ${copies}` : ''}${doubled ? ', lines doubled' : ''}`
}
