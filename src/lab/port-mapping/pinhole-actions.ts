/** WANIPv6FirewallControl:1, for hosts that ask over IPv6 and for themselves. */
import { Address } from '../../net/index.ts'
import { type Action, type Call, numberIn } from './actions.ts'
import type { Lease } from './leases.ts'
import { granted, obstacle } from './setting.ts'

/** WANIPv6FirewallControl:1 2.3: a lease has from a second to a day. */
const DAY = 86_400

export const PINHOLE_ACTIONS: Readonly<Record<string, Action>> = {
  GetFirewallStatus: ({ setting }) => [
    ['FirewallEnabled', setting.firewalled ? 1 : 0],
    ['InboundPinholeAllowed', obstacle(setting, 'upnp') === 'refused' ? 0 : 1],
  ],
  AddPinhole: (call) => {
    const { setting, args, from } = call
    const internalPort = numberIn(args, 'InternalPort', 0xffff)
    const remotePort = numberIn(args, 'RemotePort', 0xffff)
    const protocol = numberIn(args, 'Protocol', 0xffff)
    const seconds = leaseIn(call, 'LeaseTime')
    const internal = Address.tryOf(args.get('InternalClient') ?? '', internalPort ?? 0)
    const remote = args.get('RemoteHost')
    if (remotePort === undefined || protocol === undefined || seconds === undefined || internalPort === undefined) return 402
    if (internal?.family !== 6 || remote === undefined || (remote !== '' && Address.tryOf(remote, 0)?.family !== 6)) return 402
    if (!setting.firewalled) return 702
    const why = obstacle(setting, 'upnp')
    if (why === 'refused' || !internal.sameIp(from)) return 606
    if (why !== undefined) return why === 'full' ? 701 : 501
    if (protocol === 0xffff) return 707
    if (protocol !== 17 && protocol !== 6) return 705
    if (internalPort === 0) return 706
    const transport = protocol === 17 ? 'udp' : 'tcp'
    const lifetime = lifetimeOf(call, seconds)
    const allow = remote === '' ? {} : { allow: [remote] }
    const asked = { protocol: 'upnp', transport, internal, externalPort: internal.port, lifetime, exact: true, ...allow } as const
    const lease = setting.leases.grant(asked, setting.leases.of('upnp', transport, internal))
    return lease === 'taken' ? 701 : [['UniqueID', lease.id]]
  },
  UpdatePinhole: (call) => {
    const seconds = leaseIn(call, 'NewLeaseTime')
    if (seconds === undefined) return 402
    const lease = pinholeIn(call)
    if (typeof lease === 'number') return lease
    call.setting.leases.grant({ ...lease.request, lifetime: lifetimeOf(call, seconds) }, lease)
    return []
  },
  DeletePinhole: (call) => {
    const lease = pinholeIn(call)
    if (typeof lease === 'number') return lease
    call.setting.leases.remove(lease)
    return []
  },
}

function pinholeIn({ setting, args, from }: Call): Lease | number {
  const id = numberIn(args, 'UniqueID', 0xffff)
  if (id === undefined) return 402
  const lease = setting.leases.all().find((one) => one.id === id && one.pinhole)
  if (lease === undefined) return 704
  return lease.internal.sameIp(from) ? lease : 606
}

function leaseIn({ args }: Call, name: string): number | undefined {
  const seconds = numberIn(args, name, DAY)
  return seconds === 0 ? undefined : seconds
}

function lifetimeOf({ setting }: Call, seconds: number): number {
  return granted(setting, seconds * 1000, { longest: DAY * 1000 })
}
