/** The names of the virtual internet: one table that every host asks, with a delay. */
import { SallyportError } from '../errors.ts'
import { Address, type Clock, type Dns, type Family } from '../net/index.ts'

export class LabDns {
  readonly #names = new Map<string, readonly string[]>()
  /** Milliseconds until an answer; Infinity for a resolver that is silent. */
  delay: number

  constructor(delay: number) {
    this.delay = delay
  }

  /** Gives a name its addresses, in the order in which they are answered. No addresses: the name goes. */
  set(name: string, addresses: readonly string[]): void {
    for (const ip of addresses) Address.of(ip, 0)
    if (addresses.length === 0) this.#names.delete(name.toLowerCase())
    else this.#names.set(name.toLowerCase(), [...addresses])
  }

  get(name: string): readonly string[] | undefined {
    return this.#names.get(name.toLowerCase())
  }
}

/** The resolver of one host. */
export class HostDns implements Dns {
  readonly #dns: LabDns
  readonly #clock: Clock

  constructor(dns: LabDns, clock: Clock) {
    this.#dns = dns
    this.#clock = clock
  }

  lookup(name: string, options: { readonly family?: Family; readonly signal?: AbortSignal } = {}): Promise<readonly string[]> {
    const { family, signal } = options
    return new Promise((resolve, reject) => {
      if (signal?.aborted === true) return reject(signal.reason)
      const aborted = (): void => {
        timer.cancel()
        reject(signal?.reason)
      }
      const literal = Address.tryOf(name, 0)
      const timer = this.#clock.wake(this.#clock.now() + (literal === undefined ? this.#dns.delay : 0), () => {
        signal?.removeEventListener('abort', aborted)
        const all = literal === undefined ? (this.#dns.get(name) ?? []) : [name]
        const fitting = all.filter((ip) => family === undefined || Address.of(ip, 0).family === family)
        if (fitting.length > 0) resolve(fitting)
        else reject(new SallyportError('ERR_DNS', `no ${family === undefined ? '' : `IPv${family} `}address is known for ${name}`))
      })
      signal?.addEventListener('abort', aborted, { once: true })
    })
  }
}
