/** The facts of port mapping as lines for people. */
import type { MappingProtocol, ProtocolSurvey, RouterSurvey } from '../../pmp/index.ts'
import { milliseconds } from '../format.ts'
import type { PortMappingFacts } from './port-mapping.ts'
import type { Trial, TriedGrant, TriedServer } from './trial.ts'

const NAMES: Readonly<Record<MappingProtocol, string>> = { pcp: 'PCP', 'nat-pmp': 'NAT-PMP', upnp: 'UPnP' }
const WIDTH = 9

export function protocolName(protocol: MappingProtocol): string {
  return NAMES[protocol]
}

export function linesOf({ routers, trials, servers }: PortMappingFacts): readonly string[] {
  const lines = [...routers.flatMap(routerLines), ...trials.flatMap(trialLines), ...servers.map(serverLine)]
  return lines.length === 0 ? ['no router'] : lines
}

function routerLines({ router, address, interface: name, protocols }: RouterSurvey): readonly string[] {
  return [`router ${router}, from ${address} (${name})`, ...protocols.map((survey) => entry(survey.protocol, surveyText(survey)))]
}

function surveyText(survey: ProtocolSurvey): string {
  if (!survey.answers) return survey.failure
  const { external, model, service, state, ms } = survey
  const parts = [
    `answers in ${milliseconds(ms)} ms`,
    ...(external === undefined ? [] : [`its address is ${external}`]),
    ...(model === undefined ? [] : [`“${model}”`]),
    ...(service === undefined ? [] : [`${service}${state === undefined ? '' : ` ${state}`}`]),
  ]
  return parts.join(', ')
}

function trialLines({ router, internal, grants, failure }: Trial): readonly string[] {
  return [
    `a mapping of ${internal} at ${router}`,
    ...grants.map((grant) => entry(grant.protocol, grantText(grant))),
    ...(failure === undefined ? [] : [`  none: ${failure}`]),
  ]
}

function grantText({ external, samePort, lifetime, verdict, proven }: TriedGrant): string {
  const parts = [
    external ?? 'granted, the router does not tell its address',
    samePort ? 'the same port' : 'another port',
    lifetime === null ? 'until it is deleted' : `for ${lifetime / 1_000} s`,
    verdict === 'proven' ? `proven${proven === external ? '' : ` at ${proven}`}` : verdict === 'unproven' ? 'unproven' : 'forwards nothing',
  ]
  return parts.join(', ')
}

function serverLine({ server, sends, mapped, failure }: TriedServer): string {
  const seen = mapped === undefined ? '' : `sees us at ${mapped}, `
  return `${server}: ${failure ?? `${seen}${sends ? 'can send from outside' : 'cannot send from outside'}`}`
}

function entry(protocol: MappingProtocol, text: string): string {
  return `  ${protocolName(protocol).padEnd(WIDTH)}${text}`
}
