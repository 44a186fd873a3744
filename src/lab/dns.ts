/**
 * The names of the virtual internet: one table that every host asks, with a delay. A name under `.local` is also known on the LANs that
 * one of its addresses is on, to those who ask there (RFC 6762).
 */
import { SallyportError } from '../errors.ts'
import { Address, type Clock, type Dns, type Family, FIRST_REPEAT, isLocalName } from '../net/index.ts'

interface Entry {
  readonly addresses: readonly string[]
  readonly delay: number | undefined
}

export class LabDns {
  readonly #names = new Map<string, Entry>()
  /** Milliseconds until an answer; Infinity for a resolver that is silent. */
  delay: number

  constructor(delay: number) {
    this.delay = delay
  }

  /**
   * Gives a name its addresses, in the order in which they are answered. No addresses: the name goes.
   * @param delay milliseconds until an answer for this name, Infinity for none; the table's by default
   */
  set(name: string, addresses: readonly string[], delay?: number): void {
    for (const ip of addresses) Address.of(ip, 0)
    if (addresses.length === 0) this.#names.delete(name.toLowerCase())
    else this.#names.set(name.toLowerCase(), { addresses: [...addresses], delay })
  }

  get(name: string): readonly string[] | undefined {
    return this.#names.get(name.toLowerCase())?.addresses
  }

  /** @internal milliseconds until an answer for this name */
  delayOf(name: string): number {
    return this.#names.get(name.toLowerCase())?.delay ?? this.delay
  }
}

/** The resolver of one host. */
export class HostDns implements Dns {
  readonly #dns: LabDns
  readonly #clock: Clock
  readonly #neighbours: (from: Address, ip: string) => boolean

  /** @param neighbours whether an address is on the LAN that an address of ours is on */
  constructor(dns: LabDns, clock: Clock, neighbours: (from: Address, ip: string) => boolean) {
    this.#dns = dns
    this.#clock = clock
    this.#neighbours = neighbours
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
      const timer = this.#clock.wake(this.#clock.now() + (literal === undefined ? this.#dns.delayOf(name) : 0), () => {
        signal?.removeEventListener('abort', aborted)
        const all = literal === undefined ? (this.#dns.get(name) ?? []) : [name]
        const fitting = all.filter((ip) => family === undefined || Address.of(ip, 0).family === family)
        if (fitting.length > 0) resolve(fitting)
        else reject(new SallyportError('ERR_DNS', `no ${family === undefined ? '' : `IPv${family} `}address is known for ${name}`))
      })
      signal?.addEventListener('abort', aborted, { once: true })
    })
  }

  lookupLocal(name: string, options: { readonly from: readonly Address[]; readonly signal: AbortSignal }): Promise<string> {
    const { from, signal } = options
    return new Promise((resolve, reject) => {
      if (signal.aborted) return reject(signal.reason)
      if (!isLocalName(name)) return reject(new SallyportError('ERR_DNS', `${name} is not one label and .local`))
      let timer = { cancel: (): void => {} }
      const aborted = (): void => {
        timer.cancel()
        reject(signal.reason)
      }
      const after = (milliseconds: number, then: () => void): void => {
        timer = this.#clock.wake(this.#clock.now() + milliseconds, then)
      }
      const ask = (repeat: number): void => {
        const answer = this.#dns.get(name)?.find((ip) => from.some((address) => this.#neighbours(address, ip)))
        if (answer === undefined) after(repeat, () => ask(2 * repeat))
        else
          after(this.#dns.delayOf(name), () => {
            signal.removeEventListener('abort', aborted)
            resolve(answer)
          })
      }
      signal.addEventListener('abort', aborted, { once: true })
      ask(FIRST_REPEAT)
    })
  }
}
