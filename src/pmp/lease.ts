/**
 * One mapping, from the first question to its end: acquired, proven, watched, renewed at half its life, made again when the router has
 * forgotten it or it does not forward, deleted when nobody needs it any more.
 */
import { SallyportError } from '../errors.ts'
import { type Address, type Random, randomFraction, type Timer, type Timers } from '../net/index.ts'
import { Acquisition } from './acquisition.ts'
import { asMappingError, mostTelling } from './failures.ts'
import { describeReach, type Proof, type Prove } from './proof.ts'
import type { Grant, MappingClient, MappingProtocol, MappingRequest } from './protocol.ts'
import { isPassing, RENEWAL_LEAST, untilRenewal } from './renewal.ts'
import type { Router } from './router.ts'

/** Milliseconds between looks at a mapping that stands: is it still forwarding, is the router's clock still the same? */
const WATCH_INTERVAL = 60_000
/** Milliseconds that a proof is good for while nobody is there to repeat it: routers stop forwarding now and then, and do not say so. */
const PROOF_LIFETIME = 600_000
/** Milliseconds between looks that doubts bring about, at least. */
const DOUBT_INTERVAL = 5_000
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

/** A request that renews, under way. */
interface Renewal {
  /** The router has forgotten what it granted. */
  lost: boolean
  done: Promise<void>
}

export class Lease {
  readonly request: MappingRequest
  readonly #options: LeaseOptions
  /** Of our ports; what the router does for it is done one thing after the other. */
  readonly #port: string
  #router: Router | undefined
  #client: MappingClient | undefined
  #grant: Grant | undefined
  #grantedAt = 0
  #proof: Proof = { kind: 'unknown' }
  #judged = false
  #failure: SallyportError | undefined
  #asked = false
  #settled = false
  /** A mapping is asked for, or about to be. */
  #asking = false
  #acquisition: Acquisition | undefined
  #renewing: Renewal | undefined
  /** What is under way was asked before the network changed. */
  #stale = false
  /** What is renewed now was deleted meanwhile, perhaps. */
  #again = false
  #proving: object | undefined
  #renewal: Timer | undefined
  #watch: Timer | undefined
  #retry: Timer | undefined
  #hurry: Timer | undefined
  #retryAfter = RETRY_FIRST
  #doubtedAt = Number.NEGATIVE_INFINITY
  #hurriedAt = Number.NEGATIVE_INFINITY
  #provenAt = Number.NEGATIVE_INFINITY
  #remade = 0
  /** Protocols whose mappings did not forward, in this round of asking. */
  readonly #dead = new Map<MappingProtocol, SallyportError>()
  /** Whatever was awaited for an earlier one is not news any more. */
  #round = 0

  constructor(options: LeaseOptions) {
    this.#options = options
    this.request = options.request
    this.#port = `${options.request.transport} ${options.request.internal.port}`
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

  /** How often the router had forgotten it, and it was made again. */
  get remade(): number {
    return this.#remade
  }

  /** The proof was tried for what is granted now, whatever it came to. */
  get judged(): boolean {
    return this.#judged
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
    else {
      void this.#ask()
      this.#options.changed(this)
    }
  }

  /** A router has lost its mappings, or says so. */
  restarted(client: MappingClient): void {
    if (client.uplink !== this.#router?.uplink) return
    if (this.#renewing !== undefined) {
      // Its answer comes from the router as it is now.
      if (client === this.#client) this.#renewing.lost = true
    } else if (this.#grant === undefined) {
      if (!this.#asking) this.#hurryTo(() => this.#askAnew())
    } else if (client === this.#client) this.#hurryTo(() => void this.#renew({ lost: true }))
    else this.doubt()
  }

  /** Another network may lie behind the same addresses: nothing is certain. */
  recheck(): void {
    // What is answered from now on is answered here; what is not may have been asked elsewhere.
    if (this.#asking || this.#renewing !== undefined) this.#stale = true
    else if (this.#grant !== undefined) void this.#renew()
    else if (this.#router !== undefined) this.#askAnew()
  }

  /** Nothing seems to come in. */
  doubt(): void {
    const now = this.#options.timers.now()
    if (this.#grant === undefined || now < this.#doubtedAt + DOUBT_INTERVAL) return
    this.#doubtedAt = now
    this.#look()
  }

  /** Somebody is there to prove it who was not before: what those before are at may take seconds. */
  proveAgain(): void {
    if (this.#proof.kind === 'proven') return
    this.#proving = undefined
    void this.#prove()
  }

  /** What was seen of it is no longer so: it has to be seen again. */
  disproven(): void {
    if (this.#grant === undefined) return
    this.#proof = { kind: 'unknown' }
    this.#judged = false
    this.#proving = undefined
    void this.#prove()
  }

  /** A packet from outside has come in through it, somebody else says. */
  proven(external: Address): void {
    if (this.#grant === undefined) return
    // What was sent before this one may still be found missing.
    this.#proving = undefined
    this.#judge({ kind: 'proven', external })
  }

  /** Deletes the mapping on the router. Never rejects. The lease can be used again by `moveTo`. */
  async release(): Promise<void> {
    const router = this.#router
    this.#giveUp()
    await router?.idle(this.#port)
  }

  #forget(): void {
    this.#round++
    if (this.#acquisition !== undefined) {
      this.#acquisition.cancel()
      this.#router?.track(this.#port, this.#acquisition.ended)
    }
    if (this.#renewing !== undefined) this.#router?.track(this.#port, this.#renewing.done)
    for (const timer of [this.#renewal, this.#watch, this.#retry, this.#hurry]) timer?.cancel()
    this.#dead.clear()
    this.#acquisition = undefined
    this.#renewing = undefined
    this.#proving = undefined
    this.#asking = false
    this.#again = false
    this.#stale = false
    this.#client = undefined
    this.#grant = undefined
    this.#proof = { kind: 'unknown' }
    this.#judged = false
    this.#failure = undefined
  }

  /** Forgets what was granted, and has the router delete it. */
  #giveUp(): void {
    const [client, grant, renewing] = [this.#client, this.#grant, this.#renewing]
    this.#forget()
    if (client === undefined || grant === undefined) return
    // Not side by side with a renewal, which might come to the router later.
    const deleted = renewing === undefined ? client.unmap(grant) : renewing.done.then(() => client.unmap(grant))
    this.#router?.track(
      this.#port,
      deleted.catch(() => {}), // it ends with its lifetime
    )
  }

  #askAnew(): void {
    this.#forget()
    void this.#ask()
  }

  async #ask(): Promise<void> {
    const router = this.#router
    if (router === undefined) return
    const round = ++this.#round
    this.#asking = true
    try {
      const clients = await router.clients()
      await router.idle(this.#port)
      if (round !== this.#round) return
      this.#acquisition = new Acquisition({
        timers: this.#options.timers,
        clients: clients.filter(({ protocol }) => !this.#dead.has(protocol)),
        request: this.#requestHere(),
        earlier: this.#dead,
        granted: (client, grant) => this.#take(client, grant),
        failed: (error) => this.#fail(error),
        late: (client, grant) => this.#late(client, grant),
      })
      this.#acquisition.start()
    } catch (error) {
      if (round === this.#round) this.#fail(this.#dead.size > 0 ? mostTelling(this.#dead) : asMappingError(error))
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

  #take(client: MappingClient, grant: Grant): void {
    this.#asking = false
    this.#client = client
    this.#stale = false
    this.#granted(grant, false)
  }

  /** @param same it is the mapping that there was: its proof is as good as it was */
  #granted(grant: Grant, same: boolean): void {
    this.#grant = grant
    this.#grantedAt = this.#options.timers.now()
    if (!same) {
      this.#proof = { kind: 'unknown' }
      this.#judged = false
      this.#proving = undefined
    }
    this.#scheduleRenewal(1 / 2)
    this.#scheduleWatch()
    this.#options.changed(this)
    void this.#prove()
  }

  /** One for the same port came in by another protocol. On many routers to delete it deletes both. */
  async #late(client: MappingClient, grant: Grant): Promise<void> {
    await client.unmap(grant).catch(() => {})
    if (this.#grant === undefined || client.uplink !== this.#client?.uplink) return
    if (this.#renewing !== undefined) this.#again = true
    await this.#renew()
  }

  /** At once, but not one after the other without end: whoever is on the link can claim restarts, and there are routers with odd clocks. */
  #hurryTo(act: () => void): void {
    const { timers } = this.#options
    this.#hurry?.cancel()
    const due = this.#hurriedAt + RENEWAL_LEAST
    if (timers.now() < due) this.#hurry = timers.at(due, () => this.#hurryTo(act))
    else {
      this.#hurriedAt = timers.now()
      act()
    }
  }

  // ── proof ──

  /** One at a time. */
  async #prove(): Promise<void> {
    const grant = this.#grant
    if (grant === undefined) return
    if (this.#proving !== undefined) return
    const proving = {}
    this.#proving = proving
    const proof = await this.#options.prove(grant, this.request)
    if (this.#proving !== proving) return
    this.#proving = undefined
    this.#judge(proof)
  }

  #judge(proof: Proof): void {
    if (proof.kind === 'failed') {
      this.#replace()
      return
    }
    const now = this.#options.timers.now()
    // Who cannot look has nothing to say against what was seen, for a while.
    if (proof.kind === 'proven') {
      this.#proof = proof
      this.#provenAt = now
    } else if (now > this.#provenAt + PROOF_LIFETIME) this.#proof = proof
    this.#judged = true
    this.#retryAfter = RETRY_FIRST
    this.#tell()
  }

  /** It does not forward: deleted, and made again, by the next protocol unless it did forward once. */
  #replace(): void {
    const grant = this.#grant
    if (grant === undefined) return
    const dead = new Map(this.#dead)
    if (this.#proof.kind !== 'proven') {
      const { protocol, external } = grant
      const message = `the router granted ${external.key} by ${protocol}, but nothing comes through${describeReach(external)}`
      dead.set(protocol, new SallyportError('ERR_MAPPING_UNPROVEN', message))
    }
    this.#giveUp()
    for (const [name, error] of dead) this.#dead.set(name, error)
    void this.#ask()
    this.#options.changed(this)
  }

  // ── life ──

  /** @param part of the lifetime that has passed when it is due */
  #scheduleRenewal(part: number): void {
    const { timers, random } = this.#options
    const grant = this.#grant
    if (grant === undefined) return
    this.#renewal?.cancel()
    const wait = untilRenewal(grant, part, timers.now() - this.#grantedAt, random)
    this.#renewal = timers.after(wait, () => void this.#renew({ next: 1 - (1 - part) / 2 }))
  }

  /**
   * One at a time. `next`: the part of the lifetime after which it is tried again. `lost`: the router has forgotten what it granted, so there is
   * no again.
   */
  #renew({ next = 3 / 4, lost = false }: { readonly next?: number; readonly lost?: boolean } = {}): Promise<void> {
    const [client, previous] = [this.#client, this.#grant]
    if (client === undefined || previous === undefined) return Promise.resolve()
    if (this.#renewing !== undefined) return this.#renewing.done
    this.#renewal?.cancel()
    const renewal: Renewal = { lost, done: Promise.resolve() }
    this.#renewing = renewal
    const asked = client.map({ ...this.#requestHere(), externalPort: previous.external.port, previous })
    renewal.done = asked.then(
      (grant) => this.#renewed(renewal, client, previous, grant),
      (error) => this.#notRenewed(renewal, error, next),
    )
    return renewal.done
  }

  async #renewed(renewal: Renewal, client: MappingClient, previous: Grant, grant: Grant): Promise<void> {
    const same = grant.external.key === previous.external.key
    if (this.#renewing !== renewal) {
      // The lease was given up meanwhile; what it knew of is deleted by whoever did that.
      if (!same) await client.unmap(grant).catch(() => {})
      return
    }
    this.#renewing = undefined
    const again = this.#again
    this.#again = false
    this.#stale = false
    if (renewal.lost) this.#remade++
    this.#granted(grant, same)
    if (again) void this.#renew()
  }

  #notRenewed(renewal: Renewal, error: unknown, next: number): void {
    if (this.#renewing !== renewal) return
    this.#renewing = undefined
    const left = this.expiresAt - this.#options.timers.now()
    if (!renewal.lost && left > RENEWAL_LEAST && isPassing(error)) {
      const again = this.#again || this.#stale
      this.#again = false
      this.#stale = false
      if (again) void this.#renew()
      else this.#scheduleRenewal(next)
      return
    }
    // Refused, or run out: by the next protocol, perhaps. What still stands there would be in its way.
    if (left > RENEWAL_LEAST) this.#giveUp()
    else this.#forget()
    void this.#ask()
    this.#options.changed(this)
  }

  #scheduleWatch(): void {
    const { timers, random } = this.#options
    this.#watch?.cancel()
    this.#watch = timers.after(WATCH_INTERVAL * (0.9 + 0.2 * randomFraction(random)), () => this.#look())
  }

  /** Does it forward? And what does the router say: the answer shows the client whether the router started anew, and us another address. */
  #look(): void {
    const [client, grant] = [this.#client, this.#grant]
    if (client === undefined || grant === undefined) return
    this.#scheduleWatch()
    void this.#prove()
    client.probe().then(
      ({ external }) => {
        const moved = external !== undefined && !external.sameIp(grant.external) && grant.external.family === 4
        if (this.#grant === grant && moved) void this.#renew()
      },
      () => {}, // the renewals will tell
    )
  }

  #fail(error: SallyportError): void {
    const isStale = this.#stale
    this.#forget()
    if (isStale && this.#router !== undefined) {
      void this.#ask()
      return
    }
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
