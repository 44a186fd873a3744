/** `sallyport connect`: one peer as a command. Reads the options; the two ways of running it are json-peer.ts and person-peer.ts. */
import type { HostPolicy } from '../candidates/index.ts'
import { Address, type InterfaceAddress, Prefix } from '../net/index.ts'
import type { PeerSetup } from './peer-setup.ts'
import { readFileOption } from './secrets.ts'
import { turnServers } from './turn-options.ts'
import { numberOption, portOption, readOptions, UsageError } from './usage.ts'

const LONGEST_TIMEOUT = 86_400

export async function connect(args: readonly string[]): Promise<number> {
  const values = readOptions('connect', args, {
    stun: { type: 'string', multiple: true, default: [] },
    turn: { type: 'string', multiple: true, default: [] },
    'turn-user': { type: 'string', multiple: true, default: [] },
    'turn-pass': { type: 'string', multiple: true, default: [] },
    'turn-ca': { type: 'string' },
    'relay-only': { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    port: { type: 'string', default: '0' },
    host: { type: 'string', multiple: true, default: [] },
    loopback: { type: 'boolean', default: false },
    lite: { type: 'boolean', default: false },
    'port-mapping': { type: 'boolean', default: false },
    timeout: { type: 'string' },
    events: { type: 'boolean', default: false },
    say: { type: 'string' },
    verbose: { type: 'boolean', default: false },
  })
  for (const name of ['events', 'say'] as const) {
    if (values[name] && !values.json) throw new UsageError(`connect: --${name} goes with --json only`)
  }
  const { timeout = values.json ? '60' : '0', say = 'hello' } = values
  const seconds = numberOption('timeout', timeout, 0, LONGEST_TIMEOUT)
  const relays = turnServers(values.turn, values['turn-user'], values['turn-pass'])
  for (const name of ['relay-only', 'turn-ca'] as const) {
    if (values[name] && relays.length === 0) throw new UsageError(`connect: --${name} goes with --turn`)
  }
  const ca = values['turn-ca']
  const setup: PeerSetup = {
    traversal: {
      servers: [...values.stun.map((server) => (/^stuns?:(?!\d+$)/.test(server) ? server : `stun:${server}`)), ...relays],
      relay: { only: values['relay-only'], ...(ca === undefined ? {} : { ca: readFileOption('turn-ca', ca) }) },
      hosts: hostPolicy(values.host, values.loopback),
      port: portOption('port', values.port),
      lite: values.lite,
      portMapping: values['port-mapping'],
    },
    hosts: values.host,
    timeout: seconds === 0 ? undefined : seconds * 1_000,
    verbose: values.verbose,
  }
  try {
    if (values.json) return await (await import('./json-peer.ts')).runForPrograms(setup, { events: values.events, say })
    return await (await import('./person-peer.ts')).runForPeople(setup)
  } catch (error) {
    // The library's word for an option that makes no sense.
    throw error instanceof TypeError && error.message.startsWith('option ') ? new UsageError(`connect: ${error.message}`) : error
  }
}

/** `--host` has the last word on which addresses are offered, and brings back those that a rule would leave out. */
function hostPolicy(hosts: readonly string[], loopback: boolean): HostPolicy {
  if (hosts.length === 0) return { loopback }
  const matches = hosts.map(matcher)
  const accept = (entry: InterfaceAddress): boolean => (loopback && entry.internal) || matches.some((match) => match(entry))
  return { loopback, include: hosts, accept }
}

function matcher(host: string): (entry: InterfaceAddress) => boolean {
  if (!host.includes('/') && Address.tryOf(host, 0) === undefined) {
    return host.endsWith('*') ? ({ name }) => name.startsWith(host.slice(0, -1)) : ({ name }) => name === host
  }
  try {
    const range = Prefix.parse(host)
    return ({ address }) => range.contains(address)
  } catch (error) {
    throw new UsageError(`connect: --host: ${(error as Error).message}`)
  }
}
