/** What can be asked of the command line: the help texts, and reading options with a clear word about every mistake. */
import { type ParseArgsConfig, parseArgs } from 'node:util'
import type { Colours } from './format.ts'

/** Asked wrongly: exit code 2. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
}

interface CommandHelp {
  readonly summary: string
  readonly usage: string
  readonly about: readonly string[]
  readonly options: readonly (readonly [option: string, meaning: string])[]
}

export type CommandName = 'connect' | 'serve' | 'credentials' | 'doctor' | 'demo'

const COMMANDS: Readonly<Record<CommandName, CommandHelp>> = {
  connect: {
    summary: 'connect to a peer: swap codes by hand, or signals as JSON lines',
    usage: 'sallyport connect [options]',
    about: [
      'Both sides run the same command. For people: each gives its code to the other by any',
      'message, pastes the other one, and then every line typed goes to the peer.',
      '',
      'With --json: writes {"signal": …} lines for the peer to standard output and takes the',
      'peer\'s from standard input, in any order and at any time. Writes {"event":"path",…} at',
      'each change of path, one {"done":true,…} once application data has gone both ways, or',
      '{"failed":<code>,…}; the codes are the library\'s, and ERR_TIMEOUT for --timeout. Takes',
      '{"restart":true}, too: start over with new credentials (RFC 8445 9), while the path stays',
      'in use. Leaves when standard input ends.',
    ],
    options: [
      ['--stun HOST:PORT', 'a STUN server to ask for our public address; repeatable'],
      ['--turn HOST:PORT|URI', 'a TURN relay for when nothing else works, or its turn: or turns: URI; repeatable'],
      ['--turn-user NAME', 'the user name there; one for all relays, or one for each in their order'],
      ['--turn-pass PASSWORD', 'the password there, likewise'],
      ['--turn-ca FILE', 'certificates that turns: relays are checked against, PEM'],
      ['--relay-only', 'tell the peer of relayed addresses only, and send all data over relays'],
      ['--port-mapping', 'have routers open our ports, by PCP, NAT-PMP or UPnP, until the end'],
      ['--json', 'for programs: JSON lines in and out'],
      ['--port N', 'the UDP port to use; any free one by default'],
      ['--host RANGE|NAME', 'offer only addresses of this range or interface; repeatable'],
      ['--loopback', 'offer loopback addresses too, for peers on one machine'],
      ['--lite', 'for a public address: answer checks and send none (ICE lite)'],
      ['--timeout SECONDS', 'give up when nothing went both ways by then; 0 never (--json: 60)'],
      ['--events', 'with --json: also tell of candidates, servers, relays, mappings, checks and messages'],
      ['--say TEXT', 'with --json: text that the datagrams carry'],
      ['--verbose', 'explain on standard error, at the end, what was tried and why'],
    ],
  },
  serve: {
    summary: 'run a STUN server, or a TURN relay',
    usage: 'sallyport serve [options]',
    about: [
      'Answers STUN Binding requests (RFC 8489) over UDP. Two addresses of a family turn on the',
      'behaviour tests of RFC 5780.',
      '',
      'With a user or a secret it is a TURN relay too (RFC 8656), over UDP and TCP, and TLS with',
      'a certificate. A user has a password that lasts; a secret is shared with who makes',
      'passwords that expire: sallyport credentials, or any service that speaks the REST API for',
      'TURN. Peers in private ranges and on this machine are refused unless allowed.',
      '',
      'What other users of this machine must not see in its list of processes comes from a file,',
      'or as a secret a line from the environment variable SALLYPORT_SECRET.',
      '',
      'SIGTERM ends it in order: no new allocations, and the end when the last one is gone. A',
      'second one, or SIGINT, ends it at once. SIGHUP reads the certificate again.',
    ],
    options: [
      ['--port N', 'the UDP and TCP port; 3478 by default, 0 for any free one'],
      ['--address IP', 'an address to listen on; all by default; repeatable'],
      ['--alternate-port N', 'the second port of RFC 5780; by default the one after --port'],
      ['--json', 'write JSON lines: {"listening":[…],…} first, then an event each'],
      ['--metrics [IP:]PORT', 'Prometheus metrics at /metrics; on 127.0.0.1 by default'],
      ['--user NAME:PASSWORD', 'who may use the relay; repeatable'],
      ['--user-file FILE', 'the same, one a line'],
      ['--secret TEXT', 'the secret of passwords that expire; two while one replaces another'],
      ['--secret-file FILE', 'the same, one a line'],
      ['--realm NAME', 'the realm of users and secrets; sallyport by default'],
      ['--tls-cert FILE', 'TLS: the certificate and those up to its root, PEM; with --tls-key'],
      ['--tls-key FILE', 'TLS: the key of the certificate, PEM'],
      ['--tls-port N', 'the TLS port; 5349 by default'],
      ['--no-tcp', 'no relay over TCP'],
      ['--relay-address IP', 'an address of this machine that peers see; repeatable'],
      ['--external-address IP', 'told instead of the relay address, behind 1:1 NAT; repeatable'],
      ['--relay-ports MIN-MAX', 'the ports that peers see; 49152-65535 by default'],
      ['--allow-peers RANGE', 'peers that may be reached although refused by default; repeatable'],
      ['--deny-peers RANGE', 'peers that may not be reached; repeatable'],
      ['--allow-private-peers', 'for labs: all private, loopback and link-local peers'],
      ['--max-allocations N', 'allocations at once'],
      ['--max-user-allocations N', 'allocations of a user at once'],
      ['--max-permissions N', 'permissions of an allocation'],
      ['--max-rate BYTES', 'bytes a second in all; 500k, 20M and 1G are understood'],
      ['--max-user-rate BYTES', 'bytes a second of a user; with --workers, on each'],
      ['--workers N', 'so many processes, for more than one processor'],
      ['--drain-timeout SECONDS', 'how long SIGTERM waits for allocations to end; 3600 by default'],
    ],
  },
  credentials: {
    summary: 'make a user name and password for a relay, from its secret',
    usage: 'sallyport credentials [options]',
    about: [
      'Makes what a relay with this secret lets in until it expires: that of sallyport serve,',
      'coturn (static-auth-secret), eturnal (secret) and others. The secret comes from --secret,',
      '--secret-file or the environment variable SALLYPORT_SECRET; of several the first counts.',
    ],
    options: [
      ['--secret TEXT', 'the secret'],
      ['--secret-file FILE', 'a file with the secret on its first line'],
      ['--user NAME', 'who it is for: quotas and logs go by it'],
      ['--ttl SECONDS', 'how long it is good for; 3600 by default'],
      ['--uri URI', 'with --json: a turn: or turns: URI to tell of; repeatable'],
      ['--json', 'write {"username":…,"password":…,"ttl":…,"uris":[…]}'],
    ],
  },
  doctor: {
    summary: 'tell what this network allows: what its routers map, and what that means',
    usage: 'sallyport doctor [options]',
    about: [
      'Asks the routers here, IPv4 and IPv6, what they offer by PCP, NAT-PMP and UPnP. Where one',
      'answers it maps a UDP port for a moment, sees whether a packet from outside comes in, and',
      'deletes it before it ends, also on Ctrl-C. Takes some 4 s where nobody answers, and up to',
      '20 s where mappings are granted and nothing comes in.',
      '',
      'Only somebody outside can send that packet: name a relay, or a STUN server with a second',
      'address (RFC 5780). Without one nothing can be proven.',
      '',
      'With --json: {"portMapping":{"routers":[…],"publicAddresses":[…],"trials":[…],',
      '"servers":[…]},"findings":[{"code":…,"text":…},…]}',
      '  routers   interface, family, address (ours), router; protocols: [{protocol, answers, ms,',
      '            and external, reach, model, service, state, or code, failure}]',
      '  trials    router, internal (ours), failure; grants: [{protocol, external, samePort,',
      '            lifetime (null: until deleted), reach, verdict, proven}]',
      '  servers   server, sends (from outside), mapped, failure',
      "  reach     public, private, shared (a carrier's), other (than servers see), untold",
      '  verdict   proven, not-forwarding, unproven',
      '  code      of findings: works, other-port, unproven, not-forwarding, refused,',
      '            carrier-nat, double-nat, address-differs, wan-down, permanent, no-protocol,',
      '            no-router, public-address, pinholes, no-pinholes',
      'Times are milliseconds. Ends with 0 whatever it finds, and with 1 when interrupted.',
    ],
    options: [
      ['--server URI', 'who may send from outside: turn:, turns: or stun: HOST:PORT; repeatable'],
      ['--turn-user NAME', 'the user name at relays; one for all, or one for each in their order'],
      ['--turn-pass PASSWORD', 'the password there, likewise'],
      ['--turn-ca FILE', 'certificates that turns: relays are checked against, PEM'],
      ['--json', 'for programs: one JSON object'],
    ],
  },
  demo: {
    summary: 'see it work: on real sockets, and between two NATs',
    usage: 'sallyport demo',
    about: [
      'Part 1: a STUN server and two peers as three processes on real sockets of this machine.',
      'Part 2: two peers behind two NATs on a virtual internet. Needs no root and no internet.',
    ],
    options: [],
  },
}

export const COMMAND_NAMES: readonly string[] = Object.keys(COMMANDS)

export function isCommand(name: string): name is CommandName {
  return COMMAND_NAMES.includes(name)
}

export function generalHelp({ bold, dim }: Colours): string {
  const commands = Object.entries(COMMANDS).map(([name, { summary }]) => `  ${bold(name.padEnd(11))} ${summary}`)
  return [
    `${bold('sallyport')} connects two programs over UDP whatever stands between them.`,
    '',
    ...commands,
    '',
    dim('sallyport help COMMAND tells more; sallyport --version tells the version.'),
  ].join('\n')
}

export function commandHelp(name: CommandName, { bold, dim }: Colours): string {
  const { usage, about, options } = COMMANDS[name]
  const width = Math.max(0, ...options.map(([option]) => option.length))
  const lines = options.map(([option, meaning]) => `  ${bold(option.padEnd(width))}  ${dim(meaning)}`)
  return [bold(usage), '', ...about, ...(lines.length === 0 ? [] : ['', ...lines])].join('\n')
}

type Options = NonNullable<ParseArgsConfig['options']>
type Values<T extends Options> = ReturnType<
  typeof parseArgs<{ args: string[]; options: T; strict: true; allowPositionals: false }>
>['values']

/** @throws UsageError for an option that is unknown, lacks its value, or has one too many */
export function readOptions<const T extends Options>(command: CommandName, args: readonly string[], options: T): Values<T> {
  try {
    return parseArgs({ args: [...args], options, strict: true, allowPositionals: false }).values
  } catch (error) {
    // Node adds sentences about positional arguments, which there are none of, and about how to write what nobody meant.
    const [sentence = ''] = (error as Error).message.split(/\.\s/)
    throw new UsageError(`${command}: ${sentence.charAt(0).toLowerCase()}${sentence.slice(1)}`)
  }
}

/** @throws UsageError */
export function numberOption(name: string, text: string, least: number, most: number): number {
  const value = Number(text)
  if (!/^\d+(\.\d+)?$/.test(text) || value < least || value > most)
    throw new UsageError(`--${name} must be a number from ${least} to ${most}, not ${text}`)
  return value
}

/** @throws UsageError */
export function portOption(name: string, text: string): number {
  return countOption(name, text, 0, 0xffff)
}

/** @throws UsageError */
export function countOption(name: string, text: string, least: number, most: number): number {
  const value = numberOption(name, text, least, most)
  if (!Number.isInteger(value)) throw new UsageError(`--${name} must be a whole number, not ${text}`)
  return value
}
