/**
 * Other people's agents that offer nothing but their address on a relay of ours: against our own agent, and against each other. Each of them
 * over UDP, TCP and TLS where it can, past the life of its nonce and of an allocation that is not refreshed, and away. `npm run interop` has
 * them all, in both roles and against each other.
 */
import { afterAll, beforeAll, describe, it } from 'vitest'
import { type Required, requires } from '../requirements.ts'
import type { Foreign } from './foreign-agent.ts'
import { partsOf, Relays, type Scene, throughOurs, withEachOther, withOurs } from './relay-scenes.ts'

const WHOLE = process.env.INTEROP === 'all'
/** So many at once. Most of what they do is to wait. */
const CROWD = 16
/** Milliseconds from one to the next: what starts takes the processor for itself, and libjuice takes a relay that answers late for none. */
const STEP = 200

const WAYS = [
  ['controlling', 'direct'],
  ['controlled', 'relayed'],
  ['controlled', 'direct'],
  ['controlling', 'relayed'],
] as const
const TALKERS = ['werift', 'aioice', 'libnice', 'pion'].map(partsOf)
const [CHROMIUM, LIBDATACHANNEL] = [partsOf('chromium'), partsOf('libdatachannel')]

/** Every agent over every transport; in one role of the two by default, and one by one. */
const SCENES: readonly Scene[] = [
  ...LIBDATACHANNEL.flatMap((other) =>
    CHROMIUM.flatMap((part) => [
      ...(WHOLE || part.transport === 'tls' ? [throughOurs(part, other)] : []),
      ...(WHOLE ? [throughOurs(other, part)] : []),
      // On relays over TCP Chromium's tie-breaker is 0, which libjuice takes for none: it answers with 400, whoever controls.
      ...(part.transport === 'udp' ? [withEachOther(other, part), ...(WHOLE ? [withEachOther(part, other)] : [])] : []),
    ]),
  ),
  ...TALKERS.flat().flatMap((part, i) =>
    WAYS.filter((_, k) => WHOLE || k === i % WAYS.length).map(([role, ours]) => withOurs(part, role, ours)),
  ),
  ...TALKERS.flatMap((ones, i) =>
    TALKERS.flatMap((twos, k) => {
      const [one, two] = [ones[k % ones.length], twos[i % twos.length]]
      return one !== undefined && two !== undefined && (WHOLE || k === (i + 1) % TALKERS.length) ? [withEachOther(one, two)] : []
    }),
  ),
]

describe('agents by our relay only', () => {
  const required = new Map<Foreign, Required>()
  const lives = new Map<Scene, Promise<void>>()
  let relays: Relays | undefined

  function requiredFor({ agents }: Scene): Required {
    for (const agent of agents) {
      const { needs } = agent
      const known = required.get(agent) ?? requires({ ...needs, commands: { ...needs.commands, openssl: 'openssl' } })
      required.set(agent, known)
      if (known.skip) return known
    }
    return { skip: false }
  }

  beforeAll(async () => {
    const scenes = SCENES.filter((scene) => !requiredFor(scene).skip)
    if (scenes.length === 0) return
    await Promise.all([...new Set(scenes.flatMap(({ agents }) => agents))].map((agent) => agent.prepare?.()))
    const all = await Relays.start()
    relays = all
    const doors: Promise<unknown>[] = []
    for (const [i, scene] of scenes.entries()) {
      const life = Promise.all([doors[i - CROWD], pause(Math.min(i, CROWD) * STEP)]).then(() => scene.run(all))
      lives.set(scene, life)
      // Whoever awaits it hears of it.
      doors.push(life.catch(() => {}))
    }
  })

  afterAll(async () => {
    await Promise.allSettled(lives.values())
    await relays?.close()
  })

  for (const scene of SCENES)
    it(`${scene.name}: data both ways, and on for as long as they like`, { timeout: 120_000, ...requiredFor(scene) }, () =>
      lives.get(scene),
    )
})

function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds))
}
