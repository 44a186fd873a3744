/** The demo's second part: two peers, each behind a NAT that lets in only what was written to, and all that the NATs make of it. */
import { createLab, type Lab, type LabHost, nat, type Router } from '../../lab/index.ts'
import type { Session } from '../../session.ts'
import type { Signal } from '../../signal/index.ts'
import { createStunServer } from '../../stun/index.ts'
import { createTraversal, type Traversal } from '../../traversal.ts'
import { type PathText, pathText } from '../format.ts'
import { Watch } from '../watch.ts'
import type { Meeting, Stage } from './stage.ts'

const STUN = 'stun.example.net'
/** Milliseconds one way between any two on the virtual internet. */
const DELAY = 20
/** Virtual milliseconds that the meeting may take. */
const PATIENCE = 5_000
/** Real milliseconds to read a line in. */
const READING = 30
/** Endpoint-independent mapping, filtering by address and port (RFC 4787): what most homes have. Random ports, so that they tell apart. */
const NAT = { ...nat.portRestricted, ports: 'random' } as const

const DROPS: ReadonlyMap<string, string> = new Map([
  ['filtered', 'nothing from inside went there yet'],
  ['no-route', 'a private address, no way to it'],
  ['hop-limit', 'as meant: it only opens our NAT'],
])

interface Party {
  readonly name: string
  readonly host: LabHost
  readonly router: Router
  readonly traversal: Traversal
  readonly session: Session
  readonly watch: Watch
  readonly mappings: Set<string>
  path?: PathText
  heard?: string
  answered: boolean
  took?: number
}

export async function meetBehindNats(stage: Stage): Promise<Meeting> {
  const lab = createLab({ seed: 4, delay: DELAY })
  const server = lab.host(STUN)
  lab.dns.set(
    STUN,
    server.addresses.map(({ ip }) => ip),
  )
  const stun = await createStunServer({ network: server })
  const parties: Party[] = []
  try {
    const build = (name: string): { name: string; host: LabHost; router: Router } => {
      const router = lab.router(`${name}'s NAT`, { nat: NAT })
      return { name, router, host: lab.host(name, { behind: router }) }
    }
    const [homeA, homeB] = [build('alice'), build('bob')]
    draw(stage, homeA, homeB, server)
    lab.trace.start()
    const startedAt = lab.clock.now()
    const ms = (): number => lab.clock.now() - startedAt
    for (const home of [homeA, homeB]) parties.push(await join(stage, home, ms))
    const [alice, bob] = parties as [Party, Party]
    // Bob's word takes longer, as channels have it: his first checks find the other NAT still closed.
    carry(stage, lab, alice, bob, DELAY, ms)
    carry(stage, lab, bob, alice, 3 * DELAY, ms)
    await play(stage, lab, [alice, bob], ms)
    stage.rest()
    remember(stage, [alice, bob])
    if (alice.path === undefined) throw new Error('data went both ways, but no path was told of')
    return { path: alice.path, took: [alice, bob].map(({ took = Number.NaN }) => took) }
  } finally {
    for (const { traversal } of parties) await traversal.close()
    await stun.close()
  }
}

type Home = Pick<Party, 'name' | 'host' | 'router'>

function draw(stage: Stage, a: Home, b: Home, server: LabHost): void {
  const { bold, dim } = stage.colours
  const ip = ({ addresses }: { readonly addresses: readonly { readonly ip: string }[] }): string => addresses[0]?.ip ?? ''
  const home = ({ name, host, router }: Home): string =>
    `   ${bold(name.padEnd(11))}  ${ip(host).padEnd(13)} ${dim(`behind a port-restricted NAT, ${ip(router)} outside`)}`
  console.log(`   ${bold('STUN server')}  ${ip(server).padEnd(13)} ${dim(`${STUN}, ${DELAY} ms away, like everything`)}`)
  console.log(`${home(a)}\n${home(b)}\n`)
  stage.header('virtual ms')
}

async function join(stage: Stage, home: Home, ms: () => number): Promise<Party> {
  const traversal = await createTraversal({ network: home.host, servers: [`stun:${STUN}`] })
  const session = traversal.connect({ peer: 'the other one' })
  const watch = new Watch(traversal, session, (sight) => stage.sight(ms(), home.name, sight))
  return { ...home, traversal, session, watch, mappings: new Set(), answered: false }
}

/** The signalling channel, and what the application does: greet on the first path, answer the greeting. */
function carry(stage: Stage, lab: Lab, from: Party, to: Party, delay: number, ms: () => number): void {
  const { session, name } = from
  session.on('signal', (signal) => {
    from.watch.look()
    stage.signal(ms(), name, to.name, signal)
    const text = JSON.stringify(signal)
    lab.after(delay, () => void to.session.signal(JSON.parse(text) as Signal))
  })
  const say = (text: string): void => void session.send(new TextEncoder().encode(text))
  session.on('path', (path) => {
    const first = from.path === undefined
    from.path = pathText(path)
    from.watch.look()
    stage.path(ms(), name, from.path)
    if (first) say(`Hello ${to.name}, this is ${name}.`)
  })
  session.on('message', (data) => {
    const text = new TextDecoder().decode(data)
    stage.line(ms(), name, 'message', `from ${to.name}: ${text}`, { paint: 'yellow' })
    if (text.startsWith('Hello')) {
      from.heard = text
      say(`Good to hear you, ${to.name}.`)
    } else from.answered = true
    if (from.heard !== undefined && from.answered) from.took ??= ms()
  })
}

/** One virtual millisecond after the other, until data has gone both ways. */
async function play(stage: Stage, lab: Lab, parties: readonly Party[], ms: () => number): Promise<void> {
  let seen = 0
  while (parties.some(({ took }) => took === undefined)) {
    if (ms() > PATIENCE) throw new Error('the peers did not meet in time')
    const before = stage.printed
    await lab.run(1)
    for (const { watch } of parties) watch.look()
    for (const party of parties) showMappings(stage, party, ms())
    for (const { at, event, reason, from, to } of lab.trace.records.slice(seen)) {
      const party = parties.find(({ router }) => router.name === at)
      if (event !== 'drop' || party === undefined) continue
      const why = DROPS.get(reason ?? '') ?? reason ?? ''
      stage.line(ms(), at, 'drops', `${stage.pair(`udp   ${from}`, `udp   ${to}`)} ${stage.colours.dim(why)}`, {
        paint: 'red',
        kind: `${reason} ${to}`,
      })
    }
    seen = lab.trace.records.length
    if (stage.live) await new Promise((resolve) => setTimeout(resolve, READING * (stage.printed - before)))
  }
}

function showMappings(stage: Stage, { router, mappings }: Party, ms: number): void {
  for (const { internal, external } of router.mappings()) {
    if (mappings.has(external.key)) continue
    mappings.add(external.key)
    stage.line(ms, router.name, 'maps', `${internal} ${stage.colours.dim('to')} ${external}`, { paint: 'cyan' })
  }
}

function remember(stage: Stage, parties: readonly Party[]): void {
  const { bold, dim } = stage.colours
  console.log(`\n   ${bold('What the NATs remember')}`)
  // Private addresses were let in as well; nobody can use that.
  const isPublic = (key: string): boolean => !key.startsWith('192.168.')
  for (const { router } of parties) {
    for (const { internal, external, permitted } of router.mappings()) {
      console.log(
        `   ${router.name.padEnd(12)} ${internal} ${dim('is')} ${external} ${dim('outside, open to')} ${permitted.filter(isPublic).join(dim(' and '))}`,
      )
    }
  }
}
