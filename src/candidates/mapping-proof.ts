/**
 * Has a packet from outside come in through a port mapping? Sent by ourselves over an allocation on a relay, or by a STUN server from its other
 * address (RFC 5780). A router that claims a mapping is believed as little as anybody else: its WAN address may be a carrier's private one,
 * another than it says, or the mapping may be listed and not forwarded.
 */
import type { Address, Timers } from '../net/index.ts'
import { type Grant, type Proof, reachOf } from '../pmp/index.ts'
import { Attribute, type Message, MessageWriter, Method, type RetransmissionSchedule, type Transactions } from '../stun/index.ts'
import type { Base } from './candidate.ts'
import type { RelayBase } from './relayed.ts'
import type { ReflexiveBinding } from './server-reflexive.ts'

/** Five packets within 3 s, and 1.5 s for the last one: where two in five are lost, one proof in a hundred fails for that. */
const SCHEDULE: RetransmissionSchedule = { initial: 200, factor: 2, count: 5, last: 1_500, fresh: false }
/** Milliseconds in which a relay that nothing came through shows whether it is alive itself. */
const RELAY_CHECK = 1_000
/** RFC 5780 7.2: answer from the other address, and the other port. */
const CHANGE_BOTH = 0x6

/** Where packets from outside may come in, given what the router grants and what servers see; the likeliest first. */
export function targetsOf({ external, internal }: Grant, seen: readonly Address[]): readonly Address[] {
  if (internal.family === 6) return [internal]
  const targets: Address[] = []
  const add = (target: Address): void => {
    if (target.port !== 0 && !targets.some(({ key }) => key === target.key)) targets.push(target)
  }
  const told = reachOf(external) === 'public'
  if (told) add(external)
  for (const mapped of seen) {
    if (told && mapped.sameIp(external)) continue
    // Behind another NAT: what that one maps for our packets leads to the router, whose mapping then lets everybody in. And a router that is
    // mistaken about its address may still have mapped the port.
    if (!told) add(mapped)
    add(mapped.withPort(external.port))
  }
  return targets
}

export interface ProverOptions {
  readonly timers: Timers
  readonly transactions: Transactions
  /** What servers see now. */
  readonly bindings: () => readonly ReflexiveBinding[]
  readonly relays: () => readonly RelayBase[]
}

/** `silent`: sent, and it did not come in. `unable`: nothing could be sent. */
type Outcome = { readonly kind: 'arrived'; readonly at: Address } | { readonly kind: 'silent' } | { readonly kind: 'unable' }

export class MappingProver {
  readonly #options: ProverOptions
  readonly #writer = new MessageWriter(128)
  /** Servers that proved a mapping once: from them silence means something. Others may only claim another address. */
  readonly #trusted = new Set<string>()
  /** By relay and target: what hears that the system or the relay refuses. */
  readonly #open = new Map<string, () => void>()

  constructor(options: ProverOptions) {
    this.#options = options
  }

  /** Whether anybody is there to send from outside. */
  get able(): boolean {
    return this.#options.relays().length > 0 || this.#options.bindings().some((binding) => otherOf(binding) !== undefined)
  }

  /** Never rejects. @param seenFrom the base whose answers from servers tell of the NAT */
  async prove(base: Base, grant: Grant, seenFrom: Base = base): Promise<Proof> {
    const bindings = this.#options.bindings().filter((binding) => binding.base === seenFrom && binding.failure === undefined)
    const targets = targetsOf(
      grant,
      bindings.flatMap(({ mapped }) => mapped ?? []),
    )
    const attempts: Promise<Outcome>[] = []
    for (const target of targets) {
      for (const relay of this.#options.relays())
        if (relay.address.family === target.family) attempts.push(this.#byRelay(relay, base, target))
      for (const binding of bindings)
        if (binding.mapped?.sameIp(target) === true && otherOf(binding) !== undefined) attempts.push(this.#byServer(base, binding, target))
    }
    return first(attempts)
  }

  /** The system, or a relay, refuses to send there. */
  sendFailed(base: Base, to: Address): void {
    this.#open.get(keyOf(base, to))?.()
  }

  /** An answer that nobody asked for, to ourselves: what comes in with its transaction id has come the whole way. */
  #byRelay(relay: RelayBase, base: Base, target: Address): Promise<Outcome> {
    return new Promise((resolve) => {
      const key = keyOf(relay, target)
      const finish = (outcome: Outcome): void => {
        if (this.#open.get(key) === unable) this.#open.delete(key)
        resolve(outcome)
      }
      const transaction = this.#options.transactions.start({
        build: (id) => this.#writer.start('success', Method.Binding, id).address(Attribute.XorMappedAddress, target).fingerprint().finish(),
        send: (data) => void relay.send(data, target, true),
        schedule: SCHEDULE,
        // From wherever: a relay may send from another address than it tells, and who knows the transaction id has seen the packet.
        accept: (_message, _from, at) => at === base,
        done: (outcome) => {
          if (outcome.kind === 'response') finish({ kind: 'arrived', at: target })
          else this.#whenAlive(relay, (alive) => finish({ kind: alive ? 'silent' : 'unable' }))
        },
      })
      const unable = (): void => {
        transaction.cancel()
        finish({ kind: 'unable' })
      }
      this.#open.set(key, unable)
    })
  }

  /** Nothing came through: because of the relay itself? */
  #whenAlive(relay: RelayBase, then: (alive: boolean) => void): void {
    relay.verify()
    this.#options.timers.after(RELAY_CHECK, () => then(this.#options.relays().includes(relay)))
  }

  #byServer(base: Base, binding: ReflexiveBinding, target: Address): Promise<Outcome> {
    const { server, mapped } = binding
    const other = otherOf(binding)
    const name = `${binding.base.id} ${server.address.key}`
    // What the server sees of another base has another port.
    const isSeen = binding.base === base && mapped?.port === target.port
    const sameSource = ({ class: kind }: Message, from: Address): boolean => kind === 'error' && from.key === server.address.key
    return new Promise((resolve) => {
      this.#options.transactions.start({
        build: (id) => {
          this.#writer.start('request', Method.Binding, id).uint32(Attribute.ChangeRequest, CHANGE_BOTH)
          // RFC 5780 7.5: two bytes of port; where it is the port that the server sees, every server can do it.
          if (!isSeen) this.#writer.bytes(Attribute.ResponsePort, Uint8Array.of(target.port >> 8, target.port & 0xff))
          return this.#writer.fingerprint().finish()
        },
        send: (data) => void base.send(data, server.address, true),
        schedule: SCHEDULE,
        accept: (message, from, at) => at === base && (sameSource(message, from) || (other !== undefined && from.sameIp(other))),
        done: (outcome) => {
          if (outcome.kind === 'response' && outcome.message.class === 'success') {
            this.#trusted.add(name)
            resolve({ kind: 'arrived', at: target })
          } else resolve({ kind: outcome.kind === 'timeout' && this.#trusted.has(name) ? 'silent' : 'unable' })
        },
      })
    })
  }
}

/** The first packet that comes in decides; silence only where there was something to be heard. */
async function first(attempts: readonly Promise<Outcome>[]): Promise<Proof> {
  return new Promise((resolve) => {
    let left = attempts.length
    let silent = 0
    const end = (): void => resolve({ kind: silent > 0 ? 'failed' : 'unknown' })
    for (const attempt of attempts) {
      void attempt.then((outcome) => {
        if (outcome.kind === 'arrived') resolve({ kind: 'proven', external: outcome.at })
        if (outcome.kind === 'silent') silent++
        if (--left === 0) end()
      })
    }
    if (left === 0) end()
  })
}

/**
 * Where the server answers from that was not asked. Another port alone does not do: NATs that look at the IP only would let it in without a
 * mapping, and a server that knows nothing of this answers from where it was asked.
 */
function otherOf({ server, other, failure }: ReflexiveBinding): Address | undefined {
  return failure !== undefined || other === undefined || other.sameIp(server.address) ? undefined : other
}

function keyOf(base: Base, to: Address): string {
  return `${base.id} ${to.key}`
}
