/** Other people's ICE agents in processes of their own, against ours in this one, over this machine's loopback. */
import { afterEach, beforeAll, describe, expect, it } from 'vitest'
import { createTraversal, type HostPolicy, type Session, type Signal, type Traversal } from '../../src/index.ts'
import { requires } from '../requirements.ts'
import { AGENTS, type Foreign, type LineProcess, startAgent } from './foreign-agent.ts'

const LOOPBACK: HostPolicy = { loopback: true, families: [4], accept: ({ internal }) => internal }
const ROLES = ['controlling', 'controlled'] as const

/** What our side is told of the agent's role: what it says, nothing, or the opposite. */
type Claim = 'truth' | 'nothing' | 'opposite'
const CLAIMS = ROLES.flatMap((role) => (['nothing', 'opposite'] as const).map((claim) => [role, claim] as const))

interface Meeting {
  readonly session: Session
  readonly agent: LineProcess
}

let traversal: Traversal
let agent: LineProcess
let pinging: NodeJS.Timeout | undefined

afterEach(async () => {
  clearInterval(pinging)
  await traversal.close()
  await agent.close()
})

interface MeetOptions {
  readonly claim?: Claim
  readonly hosts?: HostPolicy
}

async function meet(foreign: Foreign, controlling: boolean, { claim = 'truth', hosts = LOOPBACK }: MeetOptions = {}): Promise<Meeting> {
  agent = startAgent(foreign, { controlling, loopback: true })
  traversal = await createTraversal({ hosts })
  const session = traversal.connect({ peer: foreign.name })
  session.on('signal', (signal) => agent.signal(signal))
  agent.onSignal((signal) => session.signal(claimed(signal, claim)))
  session.on('message', (data) => {
    const text = textOf(data)
    if (!text.startsWith('pong ')) session.send(Buffer.from(`pong ${text}`))
  })
  return { session, agent }
}

function claimed({ controlling, ...rest }: Signal, claim: Claim): Signal {
  if (claim === 'nothing') return rest
  return { ...rest, controlling: controlling === (claim === 'truth') }
}

/** Sends until the answer is here: a datagram may be lost, or come before the agent has made up its mind. */
function answered(session: Session, text: string): Promise<void> {
  return new Promise((resolve) => {
    const send = (): void => void session.send(Buffer.from(text))
    pinging = setInterval(send, 100)
    session.on('message', (data) => {
      if (textOf(data) === `pong ${text}`) resolve()
    })
    send()
  })
}

function textOf(data: Uint8Array): string {
  return new TextDecoder().decode(data)
}

/** Data has gone both ways, said and answered on both sides. */
async function talk({ session, agent }: Meeting, name: string): Promise<void> {
  await Promise.all([answered(session, 'ping sallyport'), agent.received('ping sallyport'), agent.received(`pong ping ${name}`)])
}

/** The others are in webrtc.test.ts. */
const TALKERS = AGENTS.filter(({ cannot }) => cannot?.data === undefined)

describe.each(TALKERS)('against $name', (foreign) => {
  describe('on one machine', requires(foreign.needs), () => {
    beforeAll(() => foreign.prepare?.())

    it.each(ROLES)('which is %s: both agree on a direct pair, and data goes both ways', async (role) => {
      const meeting = await meet(foreign, role === 'controlling')
      const { session } = meeting
      const [path, connected] = await Promise.all([session.ready, meeting.agent.connected()])
      expect(path.kind).toBe('direct')
      await talk(meeting, foreign.name)
      expect(connected.controlling ?? role === 'controlling').toBe(role === 'controlling')
      expect(session.explain().role).toBe(role === 'controlling' ? 'controlled' : 'controlling')
      expect(session.state).toBe('connected')
      // It sends to what we say is our end, and that pair was nominated, if not alone: both nominate aggressively.
      const { local } = session.path!
      expect(connected.address).toBe(`${local.ip}:${local.port}`)
      expect(session.explain().pairs).toContainEqual(expect.objectContaining({ nominated: true, outcome: 'carries the data' }))
    })

    // This machine lets it reach our other addresses from 127.0.0.1, so it may choose a pair that no candidates of ours would make.
    it.each(ROLES)('which is %s, and checks addresses of ours that are not of its scope: data goes both ways', async (role) => {
      const meeting = await meet(foreign, role === 'controlling', { hosts: { loopback: true, families: [4] } })
      await Promise.all([meeting.session.ready, meeting.agent.connected()])
      await talk(meeting, foreign.name)
    })

    it.each(foreign.cannot?.['settle role conflicts'] === undefined ? CLAIMS : [])(
      'which is %s, of which our side is told %s: the conflict is settled (RFC 8445 7.3.1.1)',
      async (role, claim) => {
        const meeting = await meet(foreign, role === 'controlling', { claim })
        await Promise.all([meeting.session.ready, meeting.agent.connected()])
        await talk(meeting, foreign.name)
        const { controlling } = await meeting.agent.connected()
        if (controlling !== undefined) expect(meeting.session.explain().role).toBe(controlling ? 'controlled' : 'controlling')
        expect(meeting.session.path).toMatchObject({ kind: 'direct' })
      },
    )
  })
})
