/** Names through the system's resolver, so that /etc/hosts, VPNs and split DNS count. */
import { lookup } from 'node:dns'
import { isIP } from 'node:net'
import { SallyportError } from '../../errors.ts'
import type { Family } from '../address.ts'
import type { Dns } from '../interfaces.ts'

export function nodeDns(): Dns {
  return { lookup: resolve }
}

function resolve(name: string, options: { readonly family?: Family; readonly signal?: AbortSignal } = {}): Promise<readonly string[]> {
  const { family, signal } = options
  return new Promise((done, reject) => {
    if (signal?.aborted) return reject(signal.reason)
    // The resolver thread cannot be stopped; its late answer is ignored.
    const aborts = (): void => reject(signal?.reason)
    signal?.addEventListener('abort', aborts, { once: true })
    lookup(name, { all: true, verbatim: true, family: family ?? 0 }, (cause, found) => {
      signal?.removeEventListener('abort', aborts)
      // Asked for the other family, some systems give a literal back as it is.
      const addresses = cause ? [] : found.map((entry) => entry.address).filter((ip) => family === undefined || isIP(ip) === family)
      if (addresses.length > 0) return done([...new Set(addresses)])
      const what = family === undefined ? 'address' : `IPv${family} address`
      reject(new SallyportError('ERR_DNS', `no ${what} for ${name}${cause ? `: ${cause.message}` : ''}`, cause ? { cause } : {}))
    })
  })
}
