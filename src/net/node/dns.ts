/** Names through the system's resolver, so that /etc/hosts, VPNs and split DNS count; those of the link by multicast. */
import { lookup } from 'node:dns'
import { SallyportError } from '../../errors.ts'
import { Address, type Family } from '../address.ts'
import type { Dns, Interfaces } from '../interfaces.ts'
import { LocalNames } from './local-names.ts'

export function nodeDns(interfaces: Interfaces): Dns {
  const localNames = new LocalNames(interfaces)
  return { lookup: resolve, lookupLocal: (name, options) => localNames.lookup(name, options) }
}

function resolve(name: string, options: { readonly family?: Family; readonly signal?: AbortSignal } = {}): Promise<readonly string[]> {
  const { family, signal } = options
  // A literal needs no trip to the resolver's thread; and node:net's isIP costs milliseconds the first time, which a cold start would pay.
  const literal = Address.tryOf(name, 0)
  if (literal !== undefined && !signal?.aborted && (family === undefined || literal.family === family)) return Promise.resolve([name])
  return new Promise((done, reject) => {
    if (signal?.aborted) return reject(signal.reason)
    // The resolver thread cannot be stopped; its late answer is ignored.
    const aborts = (): void => reject(signal?.reason)
    signal?.addEventListener('abort', aborts, { once: true })
    lookup(name, { all: true, verbatim: true, family: family ?? 0 }, (cause, found) => {
      signal?.removeEventListener('abort', aborts)
      // Asked for the other family, some systems give a literal back as it is.
      const addresses = cause
        ? []
        : found.map((entry) => entry.address).filter((ip) => family === undefined || Address.tryOf(ip, 0)?.family === family)
      if (addresses.length > 0) return done([...new Set(addresses)])
      const what = family === undefined ? 'address' : `IPv${family} address`
      reject(new SallyportError('ERR_DNS', `no ${what} for ${name}${cause ? `: ${cause.message}` : ''}`, cause ? { cause } : {}))
    })
  })
}
