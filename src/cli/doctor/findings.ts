/** What the facts of port mapping mean to a person, and what would help. */
import type { ProtocolAnswer, ProtocolSurvey, RouterSurvey } from '../../pmp/index.ts'
import { protocolName } from './page.ts'
import type { PortMappingFacts } from './port-mapping.ts'
import type { Finding } from './section.ts'
import type { Trial, TriedGrant, TriedServer } from './trial.ts'

export type PortMappingCode =
  /** A packet from outside came in. */
  | 'works'
  /** It came in at another port than ours. */
  | 'other-port'
  /** Granted, and nobody outside could try it. */
  | 'unproven'
  /** Granted, and packets from outside do not come in. */
  | 'not-forwarding'
  /** The router speaks a protocol, and grants nothing. */
  | 'refused'
  /** The router's own address is a carrier's (RFC 6598). */
  | 'carrier-nat'
  /** The router's own address is a private one. */
  | 'double-nat'
  /** Servers see us at another address than the router says it has. */
  | 'address-differs'
  /** UPnP: the router says that its connection is down. */
  | 'wan-down'
  /** Mappings stand until they are deleted. */
  | 'permanent'
  /** No router answers in any protocol. */
  | 'no-protocol'
  /** There is none. */
  | 'no-router'
  /** There is none, and none is needed. */
  | 'public-address'
  /** IPv6: whether the router opens its firewall when it is asked to. */
  | 'pinholes'
  | 'no-pinholes'

type PortMappingFinding = Finding<PortMappingCode>

/** The router knows the protocol, whatever it has to say. */
export function speaks(survey: ProtocolSurvey): boolean {
  return survey.answers || SPOKEN.has(survey.code)
}

const SPOKEN: ReadonlySet<string> = new Set(['ERR_MAPPING_REFUSED', 'ERR_MAPPING_PORT', 'ERR_MAPPING_CAPACITY', 'ERR_MAPPING_ANSWER'])

export function findingsOf(facts: PortMappingFacts): readonly PortMappingFinding[] {
  const { routers, trials, servers, publicAddresses } = facts
  const [four, six] = [routers.filter(({ family }) => family === 4), routers.filter(({ family }) => family === 6)]
  const findings: PortMappingFinding[] = []
  const [address] = publicAddresses
  if (four.length === 0 && address !== undefined)
    findings.push({
      code: 'public-address',
      text: `${address} is a public address: no router stands before it that would have to map ports. If peers do not get through, look for a firewall.`,
    })
  else if (routers.length === 0)
    findings.push({
      code: 'no-router',
      text: 'This machine has no default route: there is no router to ask. Is it connected to a network?',
    })
  else if (!four.some(({ protocols }) => protocols.some(speaks)) && four.length > 0)
    findings.push({
      code: 'no-protocol',
      text: 'No router here answers in any port mapping protocol. Many have UPnP switched off: look for it in the router’s settings, or for NAT-PMP or PCP.',
    })
  for (const router of four) {
    const trial = trials.find((one) => one.router === router.router)
    findings.push(...findingsOfTrial(router, trial, servers), ...findingsOfRouter(router, trial))
  }
  if (six.length > 0) findings.push(pinholes(six))
  return findings
}

function findingsOfTrial(router: RouterSurvey, trial: Trial | undefined, servers: readonly TriedServer[]): PortMappingFinding[] {
  if (trial === undefined) {
    // The address went away between the survey and the trial.
    const text = `${router.router} answered, but ${router.address} could not be used any more to try a mapping.`
    return router.protocols.some(speaks) ? [{ code: 'refused', text }] : []
  }
  const last = trial.grants.at(-1)
  const dead = trial.grants
    .filter(({ verdict }) => verdict === 'not-forwarding')
    .map(
      (grant): PortMappingFinding => ({
        code: 'not-forwarding',
        text: `${router.router} says that it maps ${toText(grant)} by ${protocolName(grant.protocol)}, but nothing that is sent there comes in.`,
      }),
    )
  if (last === undefined) {
    const spoken = router.protocols.filter(speaks).map(({ protocol }) => protocolName(protocol))
    const why = trial.failure ?? 'it does not answer in time'
    // A router behind another NAT says so in one protocol only, often not in the one that was taken.
    const lacks = router.protocols.flatMap((one) => (!one.answers && one.code === 'ERR_MAPPING_CAPACITY' ? [one] : []))[0]
    const hint =
      lacks === undefined
        ? ''
        : ` By ${protocolName(lacks.protocol)} it says: ${lacks.failure}. Then its connection is down, or another NAT stands behind it, your provider’s perhaps, which no setting of this router reaches.`
    return [{ code: 'refused', text: `${router.router} speaks ${listed(spoken)}, but maps nothing for this machine: ${why}.${hint}` }]
  }
  if (last.verdict === 'proven') return [...worksOf(last), ...dead]
  return last.verdict === 'unproven' ? [unproven(last, servers), ...dead] : dead
}

function worksOf({ protocol, proven, external, samePort }: TriedGrant): PortMappingFinding[] {
  const found: PortMappingFinding[] = [
    { code: 'works', text: `Port mapping works: packets from outside come in at ${proven ?? external}, by ${protocolName(protocol)}.` },
  ]
  if (!samePort)
    found.push({
      code: 'other-port',
      text: 'The router gave another port than the one that was asked for: what this machine sends may leave from a third one.',
    })
  return found
}

function unproven(grant: TriedGrant, servers: readonly TriedServer[]): PortMappingFinding {
  const granted = `A mapping was granted by ${protocolName(grant.protocol)}, but whether it lets packets in could not be proven`
  const who = 'a relay (--server turn:… with --turn-user and --turn-pass) or a STUN server with a second address (RFC 5780)'
  if (servers.length === 0)
    return { code: 'unproven', text: `${granted}: nobody outside was asked to send one. Name somebody who can: ${who}.` }
  if (servers.some(({ sends }) => sends)) return { code: 'unproven', text: `${granted}: there was no answer in time.` }
  const whys = servers.map(({ server, failure }) => `${server} ${failure === undefined ? 'has no second address' : `(${failure})`}`)
  return { code: 'unproven', text: `${granted}: none of the servers can send one, ${listed(whys)}. It takes ${who}.` }
}

function findingsOfRouter({ router, protocols }: RouterSurvey, trial: Trial | undefined): PortMappingFinding[] {
  const findings: PortMappingFinding[] = []
  const answers = protocols.filter((survey): survey is ProtocolAnswer => survey.answers)
  const grants = trial?.grants ?? []
  const proven = grants.some(({ verdict }) => verdict === 'proven')
  const own = [
    ...answers.map(({ external, reach }) => ({ ip: external, reach })),
    ...grants.map(({ external, reach }) => ({ ip: external?.replace(/:\d+$/, ''), reach })),
  ]
  const allTheSame = proven ? ' Packets came in all the same: that NAT lets them in to where this machine sends from.' : ''
  const shared = own.find(({ reach }) => reach === 'shared')
  if (shared?.ip !== undefined)
    findings.push({
      code: 'carrier-nat',
      text: `Your router’s own address is ${shared.ip}: your provider’s NAT stands behind it, and no router setting reaches that one. IPv6 or a public address, which some providers give on request, would help.${allTheSame}`,
    })
  const inner = own.find(({ reach }) => reach === 'private')
  if (inner?.ip !== undefined)
    findings.push({
      code: 'double-nat',
      text: `Your router’s own address is ${inner.ip}, a private one: another NAT stands behind it. If that is a box of yours, a modem that is a router too, switch it to bridge mode, or have it forward to ${inner.ip}.${allTheSame}`,
    })
  const other = grants.find(({ reach }) => reach === 'other')
  if (other !== undefined)
    findings.push({
      code: 'address-differs',
      text: `${router} says that it has ${other.external?.replace(/:\d+$/, '')} outside, but servers see this machine elsewhere: there is another way out, a tunnel perhaps, or the router is mistaken.`,
    })
  const down = answers.find(({ state }) => state !== undefined && !/^(connected|up)$/i.test(state))
  if (down !== undefined)
    findings.push({ code: 'wan-down', text: `${router} says in UPnP that its connection to the internet is “${down.state}”.` })
  if (grants.some(({ lifetime }) => lifetime === null))
    findings.push({
      code: 'permanent',
      text: `${router} keeps mappings until they are deleted: those of programs that crash stay, and fill its table.`,
    })
  return findings
}

/** UPnP's firewall control says whether it is switched on. */
function opens(survey: ProtocolSurvey): boolean {
  return survey.answers && survey.state !== 'InboundPinholeNotAllowed'
}

function pinholes(routers: readonly RouterSurvey[]): PortMappingFinding {
  const spoken = new Set(routers.flatMap(({ protocols }) => protocols.filter(opens).map(({ protocol }) => protocol)))
  return spoken.size === 0
    ? {
        code: 'no-pinholes',
        text: 'IPv6: no router here opens its firewall when it is asked to. Peers that send to each other at once meet all the same.',
      }
    : { code: 'pinholes', text: `IPv6: the router can be asked to open its firewall, by ${listed([...spoken].map(protocolName))}.` }
}

function toText({ external }: TriedGrant): string {
  return external ?? 'a port'
}

function listed(texts: readonly string[]): string {
  return texts.length < 2 ? texts.join('') : `${texts.slice(0, -1).join(', ')} and ${texts.at(-1)}`
}
