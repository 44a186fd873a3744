/** The part that a socket of a virtual host takes in multicast: what was asked for at `bind`, read and checked. */
import { SallyportError } from '../errors.ts'
import { Address, type Family, type InterfaceAddress, type MulticastOptions } from '../net/index.ts'

export interface Membership {
  /** The interface that it sends to groups by, and hears them on. */
  readonly link: string
  readonly groups: ReadonlySet<string>
}

/** @throws SallyportError `ERR_BIND` for a link that the host does not have, and for what is no group */
export function membershipOn(interfaces: readonly InterfaceAddress[], family: Family, { on, groups = [] }: MulticastOptions): Membership {
  const there = interfaces.some(({ name, address }) => name === on.name && address.equals(on.address) && address.family === family)
  if (!there) throw refusal('EADDRNOTAVAIL', `there is no IPv${family} address ${on.address.host} on ${on.name}`)
  const joined = new Set<string>()
  for (const ip of groups) {
    const group = Address.tryOf(ip, 0)
    if (group?.scope !== 'multicast' || group.family !== family) throw refusal('EINVAL', `${ip} is not an IPv${family} group`)
    joined.add(group.ip)
  }
  return { link: on.name, groups: joined }
}

/** Why nothing is bound, in the operating system's words. */
export function refusal(code: string, message: string): SallyportError {
  return new SallyportError('ERR_BIND', message, { cause: Object.assign(new Error(code), { code }) })
}
