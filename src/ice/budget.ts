/**
 * How much may be sent to addresses where nobody has shown yet that they want it (RFC 8445 19.5.1, the "voice hammer": a peer that names
 * somebody else's addresses). One of these for each session: it outlives restarts and lists of candidates that keep changing, so that
 * neither buys more.
 */
import type { Address } from '../net/index.ts'
import { BUDGET, HEARD_BUDGET, OPENER_BUDGET, SESSION_BUDGET } from './constants.ts'

/** So many at once, and one more every so many milliseconds. */
export interface Allowance {
  readonly burst: number
  readonly interval: number
}

/**
 * `heard`: the peer's authenticated checks come from there: most likely it is the peer's, but who can forge a source address can claim any.
 * `opener`: see `caution.ts`.
 */
export type CheckKind = 'ordinary' | 'heard' | 'opener'

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
  /** The same for openers. */
  #openers: Map<string, Bucket> | undefined
  #all: Bucket | undefined

  /** IP addresses that something was sent to, and that are neither proven nor forgotten. */
  get size(): number {
    return new Set([...(this.#unproven?.keys() ?? []), ...(this.#openers?.keys() ?? [])]).size
  }

  /** One check to an address that has not answered; false when there were enough. */
  take({ ip }: Address, kind: CheckKind, now: number): boolean {
    this.#all ??= new Bucket(SESSION_BUDGET, now)
    if (kind === 'opener') return this.#spend((this.#openers ??= new Map()), ip, OPENER_BUDGET, this.#all, now)
    this.#unproven ??= new Map()
    // What is heard stays so.
    const heard = kind === 'heard' || this.#unproven.get(ip)?.allowance === HEARD_BUDGET
    return this.#spend(this.#unproven, ip, heard ? HEARD_BUDGET : BUDGET, this.#all, now)
  }

  /** An answer came from there. */
  proven({ ip }: Address): void {
    this.#unproven?.delete(ip)
    this.#openers?.delete(ip)
    // Most sessions live long with nothing to remember here.
    if (this.#unproven?.size === 0) this.#unproven = undefined
    if (this.#openers?.size === 0) this.#openers = undefined
  }

  #spend(buckets: Map<string, Bucket>, ip: string, allowance: Allowance, all: Bucket, now: number): boolean {
    const known = buckets.get(ip)
    // What is heard for the first time starts anew.
    const bucket = known?.allowance === allowance ? known : new Bucket(allowance, now)
    if (bucket.left(now) < 1 || all.left(now) < 1) return false
    if (known === undefined && buckets.size >= TIDY_AT) this.#tidy(buckets, now)
    bucket.spend(now)
    all.spend(now)
    buckets.set(ip, bucket)
    return true
  }

  /** Forgets what is as good as new. */
  #tidy(unproven: Map<string, Bucket>, now: number): void {
    for (const [ip, bucket] of unproven) if (bucket.left(now) >= bucket.allowance.burst) unproven.delete(ip)
  }
}
