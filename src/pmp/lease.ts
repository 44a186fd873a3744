/**
 * One mapping, from the first question to its end: acquired, proven, watched, renewed at half its life, made again when the router has
 * forgotten it or it does not forward, deleted when nobody needs it any more.
 */
import { SallyportError } from '../errors.ts'
import { type Address, type Random, randomFraction, type Timer, type Timers } from '../net/index.ts'
import { Acquisition } from './acquisition.ts'
import { mostTelling } from './failures.ts'
import { describeReach, type Proof, type Prove } from './proof.ts'
import type { Grant, MappingClient, MappingProtocol, MappingRequest } from './protocol.ts'
import type { Router } from './router.ts'

/** Milliseconds between looks at a mapping that stands: is it still forwarding, is the router's clock still the same? */
const WATCH_INTERVAL = 60_000
/** Milliseconds between looks that doubts bring about, at least. */
const DOUBT_INTERVAL = 5_000
/** Milliseconds between two requests that renew, at least (RFC 6887 11.2.1). */
const RENEWAL_LEAST = 4_000
/** Milliseconds, at most: a router that speaks UPnP may lose its mappings and say nothing. */
const RENEWAL_MOST: Readonly<Record<MappingProtocol, number>> = { pcp: 86_400_000, 'nat-pmp': 86_400_000, upnp: 600_000 }
/** Milliseconds until the routers are asked again when none had a mapping to give, doubling. */
const RETRY_FIRST = 60_000
const RETRY_MOST = 1_800_000

export interface LeaseOptions {
  readonly timers: Timers
  readonly random: Random
  readonly prove: Prove
  /** Without `previous`. */
  readonly request: MappingRequest
  /** Something in the lease is new. */
  readonly changed: (lease: Lease) => void
}

export class Lease {
  readonly request: MappingRequest
  readonly #options: LeaseOptions
  #router: Router | undefined
  #client: MappingClient | undefined
  #grant: Grant | undefined
  #grantedAt = 0
  #proof: Proof = { kind: 'unknown' }
  #failure: SallyportError | undefined
  #asked = false
  #settled = false
  #acquisition: Acquisition | undefined
  #renewal: Timer | undefined
  #watch: Timer | undefined
  #retry: Timer | undefined
  #retryAfter = RETRY_FIRST
  #doubtedAt = Number.NEGATIVE_INFINITY
  /** Protocols whose mappings did not forward, in this round of asking. */
  readonly #dead = new Map<MappingProtocol, SallyportError>()
  /** Whatever was awaited for an earlier one is not news any more. */
  #round = 0

  constructor(options: LeaseOptions) {
    this.#options = options
    this.request = options.request
  }

  /** What the router granted; undefined while there is nothing. */
  get grant(): Grant | undefined {
    return this.#grant
  }

  /** On the timers' clock; `Infinity` where it stands until it is deleted. */
  get expiresAt(): number {
    return this.#grant === undefined ? Number.NEGATIVE_INFINITY : this.#grantedAt + this.#grant.lifetime
  }

  /** Where a packet has come in; undefined while none has. */
  get external(): Address | undefined {
    return this.#grant !== undefined && this.#proof.kind === 'proven' ? this.#proof.external : undefined
  }

  get proof(): Proof['kind'] {
    return this.#proof.kind
  }

  get router(): Router | undefined {
    return this.#router
  }

  /** Why there is no mapping; undefined while there is one, or an answer is awaited. */
  get failure(): SallyportError | undefined {
    return this.#grant === undefined ? this.#failure : undefined
  }

  /** A router has been asked, or there was none. */
  get asked(): boolean {
    return this.#asked
  }

  /** There has been a first result, good or bad. */
  get settled(): boolean {
    return this.#settled
  }

  /** Asks this router from now on; what another one granted is forgotten. Undefined: there is none. */
  moveTo(router: Router | undefined): void {
    this.#forget()
    this.#router = router
    this.#asked = true
    this.#retryAfter = RETRY_FIRST
    if (router === undefined) this.#fail(new SallyportError('ERR_MAPPING_UNAVAILABLE', 'no router stands before this address'))
    else void this.#ask()
  }

  /** The router has lost its mappings, or says so. */
  restarted(client: MappingClient): void {
    if (this.#client === client && this.#grant !== undefined) void this.#renew({ lost: true })
    else if (this.#grant === undefined && this.#settled && this.#router !== undefined) this.#askAnew()
  }

  /** Another network may lie behind the same addresses: nothing is certain. */
  recheck(): void {
    if (this.#grant !== undefined) void this.#renew()
    else if (this.#settled && this.#router !== undefined) this.#askAnew()
  }

  /** Nothing seems to come in. */
  doubt(): void {
    const now = this.#options.timers.now()
    if (this.#grant === undefined || now < this.#doubtedAt + DOUBT_INTERVAL) return
    this.#doubtedAt = now
    this.#look()
  }

  /** Somebody is there to prove it who was not before. */
  proveAgain(): void {
    if (this.#proof.kind !== 'proven') void this.#prove()
  }

  /** A packet from outside has come in through it, somebody else says. */
  proven(external: Address): void {
    if (this.#grant !== undefined) this.#judge({ kind: 'proven', external })
  }

  /** Deletes the mapping on the router. Never rejects. The lease can be used again by `moveTo`. */
  async release(): Promise<void> {
    const [client, grant, acquisition] = [this.#client, this.#grant, this.#acquisition]
    this.#forget()
    const unmapped = grant === undefined ? undefined : client?.unmap(grant).catch(() => {})
    await Promise.all([unmapped, acquisition?.ended])
  }

  #forget(): void {
    this.#round++
    this.#acquisition?.cancel()
    for (const timer of [this.#renewal, this.#watch, this.#retry]) timer?.cancel()
    this.#dead.clear()
    this.#client = undefined
    this.#grant = undefined
    this.#proof = { kind: 'unknown' }
    this.#failure = undefined
  }

  #askAnew(): void {
    const router = this.#router
    this.#forget()
    this.#router = router
    void this.#ask()
  }

  async #ask(): Promise<void> {
    const round = ++this.#round
    const { timers } = this.#options
    try {
      const clients = (await this.#router?.clients()) ?? []
      if (round !== this.#round) return
      const left = clients.filter(({ protocol }) => !this.#dead.has(protocol))
      this.#acquisition = new Acquisition({
        timers,
        clients: left,
        request: this.#requestHere(),
        late: (client, grant) => this.#late(client, grant),
      })
      const { client, grant } = await this.#acquisition.run()
      if (round !== this.#round) return void client.unmap(grant).catch(() => {})
      this.#client = client
      this.#retryAfter = RETRY_FIRST
      this.#granted(grant, { kind: 'unknown' })
    } catch (error) {
      if (round === this.#round) this.#fail(mostTelling([...this.#dead.values(), asError(error)]))
    }
  }

  /** A socket on the wildcard is reached at the address that the router is asked from. */
  #requestHere(): MappingRequest {
    const { internal } = this.request
    const here = this.#router?.uplink.local.address
    return internal.scope !== 'unspecified' || here === undefined
      ? this.request
      : { ...this.request, internal: here.withPort(internal.port) }
  }

  #granted(grant: Grant, proof: Proof): void {
    this.#grant = grant
    this.#grantedAt = this.#options.timers.now()
    this.#proof = proof
    this.#scheduleRenewal(1 / 2)
    this.#scheduleWatch()
    this.#options.changed(this)
    void this.#prove()
  }

  /** One for the same port came in by another protocol. On many routers to delete it deletes both. */
  async #late(client: MappingClient, grant: Grant): Promise<void> {
    await client.unmap(grant).catch(() => {})
    if (this.#grant !== undefined) await this.#renew()
  }

  // ── proof ──

  async #prove(): Promise<void> {
    const round = this.#round
    const grant = this.#grant
    if (grant === undefined) return
    const proof = await this.#options.prove(grant, this.request)
    // A renewal that changes nothing leaves the proof as good as it was.
    if (round === this.#round && this.#grant?.external.key === grant.external.key) this.#judge(proof)
  }

  #judge(proof: Proof): void {
    const before = this.#proof
    if (proof.kind === 'failed') {
      void this.#replace(before.kind === 'proven')
      return
    }
    // Who cannot look has nothing to say against what was seen.
    if (proof.kind === 'proven') this.#proof = proof
    this.#tell()
  }

  /** It does not forward: deleted, and made again, by the next protocol unless it did forward once. */
  async #replace(didForward: boolean): Promise<void> {
    const [client, grant] = [this.#client, this.#grant]
    if (client === undefined || grant === undefined) return
    const dead = new Map(this.#dead)
    const { protocol } = client
    if (!didForward) {
      const where = `${grant.external.key} by ${protocol}`
      const message = `the router granted ${where}, but nothing comes through${describeReach(grant.external)}`
      dead.set(protocol, new SallyportError('ERR_MAPPING_UNPROVEN', message))
    }
    this.#forget()
    for (const [name, error] of dead) this.#dead.set(name, error)
    const round = this.#round
    this.#options.changed(this)
    await client.unmap(grant).catch(() => {})
    if (round === this.#round) await this.#ask()
  }

  // ── life ──

  /** @param part of the lifetime that has passed when it is due; a little later by chance (RFC 6887 11.2.1) */
  #scheduleRenewal(part: number): void {
    const { timers, random } = this.#options
    const grant = this.#grant
    if (grant === undefined) return
    this.#renewal?.cancel()
    const due =
      grant.lifetime === Number.POSITIVE_INFINITY ? grant.lifetime : grant.lifetime * (part + ((1 - part) / 4) * randomFraction(random))
    const wait = Math.max(RENEWAL_LEAST, Math.min(due - (timers.now() - this.#grantedAt), RENEWAL_MOST[grant.protocol]))
    this.#renewal = timers.after(wait, () => void this.#renew({ next: 1 - (1 - part) / 2 }))
  }

  /** `next`: the part of the lifetime after which it is tried again. `lost`: the router has forgotten what it granted, so there is no again. */
  async #renew({ next = 3 / 4, lost = false }: { readonly next?: number; readonly lost?: boolean } = {}): Promise<void> {
    const round = this.#round
    const [client, previous] = [this.#client, this.#grant]
    if (client === undefined || previous === undefined) return
    this.#renewal?.cancel()
    try {
      const grant = await client.map({ ...this.#requestHere(), externalPort: previous.external.port, previous })
      if (round !== this.#round || this.#grant !== previous) {
        // The lease was given up meanwhile, or is another one.
        if (this.#client !== client || this.#grant?.external.key !== grant.external.key) void this.#late(client, grant)
        return
      }
      const same = grant.external.key === previous.external.key
      this.#granted(grant, same ? this.#proof : { kind: 'unknown' })
    } catch (error) {
      if (round !== this.#round || this.#grant !== previous) return
      if (!lost && this.#options.timers.now() + RENEWAL_LEAST < this.expiresAt && isPassing(error)) this.#scheduleRenewal(next)
      else {
        // Refused, or run out: by the next protocol, perhaps.
        this.#askAnew()
        this.#options.changed(this)
      }
    }
  }

  #scheduleWatch(): void {
    const { timers, random } = this.#options
    this.#watch?.cancel()
    this.#watch = timers.after(WATCH_INTERVAL * (0.9 + 0.2 * randomFraction(random)), () => this.#look())
  }

  /** Does it forward? And what does the router say: the answer shows the client whether the router started anew, and us another address. */
  #look(): void {
    const round = this.#round
    const [client, grant] = [this.#client, this.#grant]
    if (client === undefined || grant === undefined) return
    this.#scheduleWatch()
    void this.#prove()
    client.probe().then(
      ({ external }) => {
        const moved = external !== undefined && !external.sameIp(grant.external) && grant.external.scope !== 'unspecified'
        if (round === this.#round && this.#grant === grant && grant.external.family === 4 && moved) void this.#renew()
      },
      () => {}, // the renewals will tell
    )
  }

  #fail(error: SallyportError): void {
    this.#round++
    this.#dead.clear()
    this.#failure = error
    if (this.#router !== undefined) {
      this.#retry = this.#options.timers.after(this.#retryAfter, () => this.#askAnew())
      this.#retryAfter = Math.min(2 * this.#retryAfter, RETRY_MOST)
    }
    this.#tell()
  }

  #tell(): void {
    this.#settled = true
    this.#options.changed(this)
  }
}

/** The router did not say no: it may answer the next time. */
function isPassing(error: unknown): boolean {
  return error instanceof SallyportError && (error.code === 'ERR_MAPPING_UNAVAILABLE' || error.code === 'ERR_MAPPING_CAPACITY')
}

function asError(error: unknown): SallyportError {
  if (error instanceof SallyportError) return error
  return new SallyportError('ERR_MAPPING_ANSWER', `a router's answer could not be used: ${(error as Error).message}`, { cause: error })
}
