/**
 * How much may be sent to addresses where nobody has shown yet that they want it (RFC 8445 19.5.1, the "voice hammer": a peer that names
 * somebody else's addresses). One of these for each session: it outlives restarts and lists of candidates that keep changing, so that
 * neither buys more.
 */
import type { Address } from '../net/index.ts'
import { BUDGET, HEARD_BUDGET, SESSION_BUDGET } from './constants.ts'

/** So many at once, and one more every so many milliseconds. */
export interface Allowance {
  readonly burst: number
  readonly interval: number
}

/** Addresses that are remembered without a look at which of them can be forgotten; the allowance for all bounds the rest. */
const TIDY_AT = 64

class Bucket {
  readonly allowance: Allowance
  #left: number
  #at: number

  constructor(allowance: Allowance, now: number) {
    this.allowance = allowance
    this.#left = allowance.burst
    this.#at = now
  }

  left(now: number): number {
    const { burst, interval } = this.allowance
    return Math.min(burst, this.#left + (now - this.#at) / interval)
  }

  spend(now: number): void {
    this.#left = this.left(now) - 1
    this.#at = now
  }
}

export class CheckBudget {
  /** By IP address: whoever lives there has to bear what goes to any of its ports. */
  #unproven: Map<string, Bucket> | undefined
  #all: Bucket | undefined

  /** IP addresses that something was sent to, and that are neither proven nor forgotten. */
  get size(): number {
    return this.#unproven?.size ?? 0
  }

  /**
   * One check to an address that has not answered; false when there were enough.
   * @param heard the peer's authenticated checks come from there: most likely it is the peer's, but who can forge a source address can claim any
   */
  take({ ip }: Address, heard: boolean, now: number): boolean {
    this.#all ??= new Bucket(SESSION_BUDGET, now)
    this.#unproven ??= new Map()
    const allowance = heard ? HEARD_BUDGET : BUDGET
    let bucket = this.#unproven.get(ip)
    // What is heard for the first time starts anew.
    if (bucket === undefined || (heard && bucket.allowance !== allowance)) bucket = new Bucket(allowance, now)
    if (bucket.left(now) < 1 || this.#all.left(now) < 1) return false
    if (!this.#unproven.has(ip) && this.#unproven.size >= TIDY_AT) this.#tidy(this.#unproven, now)
    bucket.spend(now)
    this.#all.spend(now)
    this.#unproven.set(ip, bucket)
    return true
  }

  /** An answer came from there. */
  proven({ ip }: Address): void {
    this.#unproven?.delete(ip)
    // Most sessions live long with nothing to remember here.
    if (this.#unproven?.size === 0) this.#unproven = undefined
  }

  /** Forgets what is as good as new. */
  #tidy(unproven: Map<string, Bucket>, now: number): void {
    for (const [ip, bucket] of unproven) if (bucket.left(now) >= bucket.allowance.burst) unproven.delete(ip)
  }
}
