/** What a router does when it is told to by UPnP: WANIPConnection (WANPPPConnection is the same here), versions 1 and 2. */
import { Address } from '../../net/index.ts'
import type { Protocol } from '../packet.ts'
import type { UpnpDevice, UpnpService } from './device.ts'
import type { Lease } from './leases.ts'
import { granted, obstacle, type Setting } from './setting.ts'
import type { SoapArguments } from './soap.ts'

/** WANIPConnection:2 2.3.24: a week, in seconds, the longest lease and what 0 means there. */
const WEEK = 604_800
const FIRST_PORT = 1024

export interface Call {
  readonly setting: Setting
  readonly device: UpnpDevice
  readonly service: UpnpService
  readonly args: ReadonlyMap<string, string>
  readonly from: Address
}

/** The arguments of the answer, or the code of the error. */
export type Outcome = SoapArguments | number
export type Action = (call: Call) => Outcome

interface Wanted {
  readonly transport: Protocol
  readonly externalPort: number
  readonly internal: Address
  /** Milliseconds; Infinity for what stays. */
  readonly lifetime: number
  readonly description: string
}

/** By name; those that came with version 2 apart. */
export const CONNECTION_ACTIONS: Readonly<Record<string, Action>> = {
  GetExternalIPAddress: (call) => [['NewExternalIPAddress', connected(call) ? call.setting.told() : '']],
  GetStatusInfo: ({ service, setting }) => [
    ['NewConnectionStatus', service.status],
    ['NewLastConnectionError', 'ERROR_NONE'],
    ['NewUptime', setting.epochSeconds()],
  ],
  GetConnectionTypeInfo: () => [
    ['NewConnectionType', 'IP_Routed'],
    ['NewPossibleConnectionTypes', 'IP_Routed'],
  ],
  AddPortMapping: addPortMapping,
  DeletePortMapping: deletePortMapping,
  GetSpecificPortMappingEntry: ({ setting, args }) => {
    const port = numberIn(args, 'NewExternalPort', 0xffff)
    const transport = transportIn(args)
    if (port === undefined || transport === undefined) return 402
    const lease = setting.leases.at(transport, port)
    return lease === undefined ? 714 : entry(setting, lease)
  },
  GetGenericPortMappingEntry: ({ setting, args }) => {
    const index = numberIn(args, 'NewPortMappingIndex', 0xffff)
    if (index === undefined) return 402
    const lease = setting.leases.all().filter(({ pinhole }) => !pinhole)[index]
    if (lease === undefined) return 713
    const { externalPort, transport } = lease
    return [['NewRemoteHost', ''], ['NewExternalPort', externalPort], ['NewProtocol', transport.toUpperCase()], ...entry(setting, lease)]
  },
}

export const CONNECTION_2_ACTIONS: Readonly<Record<string, Action>> = {
  AddAnyPortMapping: (call) => {
    const wanted = readWanted(call)
    if (typeof wanted === 'number') return wanted
    const refused = refusal(call, wanted)
    if (refused !== undefined) return refused
    if (!wanted.internal.sameIp(call.from)) return 606
    const lease = take(call, wanted, false)
    return typeof lease === 'number' ? 728 : [['NewReservedPort', lease.externalPort]]
  },
}

function connected({ service, setting }: Call): boolean {
  return ['Connected', 'Up'].includes(service.status) && setting.translates && obstacle(setting, 'upnp') !== 'offline'
}

function refusal(call: Call, { externalPort, internal, lifetime }: Wanted): number | undefined {
  const { refused, permanentOnly, samePort } = faultsOf(call)
  const why = obstacle(call.setting, 'upnp')
  if (refused || externalPort < FIRST_PORT) return 606
  if (!connected(call)) return 501
  if (why === 'full') return 728
  if (permanentOnly && lifetime !== Number.POSITIVE_INFINITY) return 725
  return samePort && externalPort !== internal.port ? 724 : undefined
}

function faultsOf({ setting }: Call): { readonly refused: boolean; readonly permanentOnly: boolean; readonly samePort: boolean } {
  const { permanentOnly = false, samePort = false } = setting.faults()
  return { refused: obstacle(setting, 'upnp') === 'refused', permanentOnly, samePort }
}

function addPortMapping(call: Call): Outcome {
  const wanted = readWanted(call)
  if (typeof wanted === 'number') return wanted
  const refused = refusal(call, wanted)
  if (refused !== undefined) return refused
  const { setting, from } = call
  if (!wanted.internal.sameIp(from)) return setting.options.like === 'miniupnpd' ? 718 : 606
  const lease = take(call, wanted, true)
  return typeof lease === 'number' ? lease : []
}

function take({ setting }: Call, wanted: Wanted, exact: boolean): Lease | number {
  const { leases } = setting
  const { transport, externalPort, internal, lifetime, description } = wanted
  const standing = leases.at(transport, externalPort)
  const { noRenewals, vainRenewals } = setting.faults()
  if (standing !== undefined && noRenewals === true && exact) return 718
  if (standing?.internal.equals(internal) && vainRenewals === true) return standing
  const lease = leases.grant({ protocol: 'upnp', transport, internal, externalPort, lifetime, exact, description })
  return lease === 'taken' ? 718 : lease
}

function deletePortMapping({ setting, device, args, from }: Call): Outcome {
  const port = numberIn(args, 'NewExternalPort', 0xffff)
  const transport = transportIn(args)
  if (port === undefined || transport === undefined) return 402
  const lease = setting.leases.at(transport, port)
  if (lease === undefined) return setting.options.like === 'miniupnpd' ? [] : 714
  // WANIPConnection:2 2.5.18: one host does not delete another's.
  if (device.version === 2 && !lease.internal.sameIp(from)) return 606
  setting.leases.remove(lease)
  return []
}

function entry({ clock }: Setting, { internal, expiresAt, request }: Lease): SoapArguments {
  const left = expiresAt === Number.POSITIVE_INFINITY ? 0 : Math.ceil((expiresAt - clock.now()) / 1000)
  return [
    ['NewInternalPort', internal.port],
    ['NewInternalClient', internal.ip],
    ['NewEnabled', 1],
    ['NewPortMappingDescription', request.description ?? request.protocol],
    ['NewLeaseDuration', left],
  ]
}

function readWanted({ setting, device, args }: Call): Wanted | number {
  const externalPort = numberIn(args, 'NewExternalPort', 0xffff)
  const internalPort = numberIn(args, 'NewInternalPort', 0xffff)
  const client = Address.tryOf(args.get('NewInternalClient') ?? '', internalPort ?? 0)
  const seconds = numberIn(args, 'NewLeaseDuration', 0xffff_ffff)
  const transport = transportIn(args)
  const described = args.has('NewRemoteHost') && args.has('NewPortMappingDescription') && args.get('NewEnabled') !== undefined
  if (externalPort === undefined || internalPort === undefined || seconds === undefined || transport === undefined) return 402
  if (client?.family !== 4 || !described) return 402
  if (args.get('NewRemoteHost') !== '') return 726
  if (externalPort === 0) return 716
  if (internalPort === 0) return device.version === 2 ? 732 : 402
  return {
    transport,
    externalPort,
    internal: client,
    lifetime: lifetimeOf(setting, device, seconds),
    description: args.get('NewPortMappingDescription') ?? '',
  }
}

/** 0 has no end with version 1, or where there are no others; with version 2 it is a week. */
function lifetimeOf(setting: Setting, { version }: UpnpDevice, seconds: number): number {
  const endless = version === 1 || setting.faults().permanentOnly === true
  if (seconds === 0 && endless) return Number.POSITIVE_INFINITY
  return granted(setting, (seconds === 0 ? WEEK : seconds) * 1000, { longest: WEEK * 1000 })
}

function transportIn(args: ReadonlyMap<string, string>): Protocol | undefined {
  const protocol = args.get('NewProtocol')
  return protocol === 'UDP' ? 'udp' : protocol === 'TCP' ? 'tcp' : undefined
}

/** A whole number up to a limit. */
export function numberIn(args: ReadonlyMap<string, string>, name: string, limit: number): number | undefined {
  const text = args.get(name) ?? ''
  return /^\d{1,10}$/.test(text) && Number(text) <= limit ? Number(text) : undefined
}
