/**
 * What a relay answers to STUN messages: Binding, and the four requests of TURN (RFC 8656 7 to 12). A request is authenticated, checked, acted
 * on; who has not proved himself is answered within the bounds of strangers.ts, and costs no memory. Sans-I/O: links have the sockets.
 */
import type { Address, Timers } from '../../net/index.ts'
import {
  Attribute,
  type BindingResponder,
  type LongTermVerifier,
  Message,
  MessageWriter,
  Method,
  type Reply,
  StunError,
} from '../../stun/index.ts'
import { FIRST_CHANNEL, LAST_OLD_CHANNEL, looksLikeChannelData, MOST_CHANNELS } from '../channel-data.ts'
import { Slab } from '../slab.ts'
import { badRequest, type Failure, fail, readAllocate, readFamily, readLifetime } from './allocate-request.ts'
import type { Allocation, Surroundings } from './allocation.ts'
import type { Allocations, Created } from './allocations.ts'
import type { Accepted, Authenticator, Busy, Identity, Refused } from './authenticator.ts'
import type { RelayEvent } from './events.ts'
import { looksLikeSend } from './indications.ts'
import { type Link, LONGEST_WAITING, MOST_WAITING } from './link.ts'
import { Peer } from './peer-table.ts'
import type { Strangers } from './strangers.ts'

/** Bytes of the least Allocate. What is shorter is only good for making answers that are larger. */
const LEAST_REQUEST = 28

/** Over a connection: the first one, a nonce that has grown old, a mistake. More of them are guesses. */
const MOST_REFUSALS = 10

/** Bytes for responses that are made at a time. */
const RESPONSES = 16 * 1024

const NAMES: ReadonlyMap<number, string> = new Map([
  [Method.Allocate, 'Allocate'],
  [Method.Refresh, 'Refresh'],
  [Method.CreatePermission, 'CreatePermission'],
  [Method.ChannelBind, 'ChannelBind'],
])

/** DONT-FRAGMENT is not among them: Node.js cannot set the bit, so that it is refused with 420 (RFC 8656 7.2, 14.10). */
const KNOWN: ReadonlySet<number> = new Set<number>([
  Attribute.Username,
  Attribute.Userhash,
  Attribute.Realm,
  Attribute.Nonce,
  Attribute.PasswordAlgorithm,
  Attribute.MessageIntegrity,
  Attribute.MessageIntegritySha256,
  Attribute.Lifetime,
  Attribute.ChannelNumber,
  Attribute.XorPeerAddress,
  Attribute.RequestedTransport,
  Attribute.RequestedAddressFamily,
  Attribute.EvenPort,
  Attribute.ReservationToken,
])

const MISMATCH: Failure = fail(StunError.AllocationMismatch, 'Allocation Mismatch')
const WRONG_CREDENTIALS: Failure = fail(StunError.WrongCredentials, 'Wrong Credentials')

export interface RequestsOptions {
  readonly around: Pick<Surroundings, 'timers' | 'policy' | 'counters'>
  readonly allocations: Allocations
  readonly authenticator: Authenticator
  readonly verifier: LongTermVerifier
  readonly strangers: Strangers
  readonly responder: BindingResponder
  readonly permissionsPerAllocation: number
  /** Milliseconds since 1970. */
  readonly wallTime: () => number
  readonly log: (event: RelayEvent) => void
}

export class Requests {
  readonly #options: RequestsOptions
  readonly #timers: Timers
  readonly #writer = new MessageWriter(1024)
  /** The answer to Allocate is kept for a while. */
  readonly #slab = new Slab(RESPONSES)

  constructor(options: RequestsOptions) {
    this.#options = options
    this.#timers = options.around.timers
  }

  /** Any datagram or frame of a client's. */
  datagram(data: Uint8Array, link: Link): void {
    const { waiting, allocation } = link
    const { ignored } = this.#options.around.counters
    if (waiting !== undefined) {
      // A copy: what is kept may be a small part of a large chunk.
      if (waiting.length < MOST_WAITING && data.length <= LONGEST_WAITING) waiting.push(data.slice())
      else ignored.busy++
    } else if (looksLikeChannelData(data)) {
      if (allocation === undefined) ignored.unexpected++
      else allocation.channelData(data)
    } else if (allocation !== undefined && looksLikeSend(data)) allocation.sendIndication(data)
    else this.message(data, link)
  }

  /** A STUN message, or what should be one. */
  message(data: Uint8Array, link: Link): void {
    const { strangers, around } = this.#options
    const { ignored } = around.counters
    const request = Message.read(data)
    if (request === undefined || request.fingerprint() === 'invalid') {
      ignored.malformed++
      return
    }
    const known = request.class === 'request' && NAMES.has(request.method)
    // Responses and indications are never answered: two servers would do so for ever.
    if (!known || (link.transport === 'udp' && data.length < LEAST_REQUEST)) {
      ignored.unexpected++
      return
    }
    if (link.transport === 'udp') strangers.heard(data.length)
    const identity = this.#identify(request, link)
    if (identity instanceof Promise)
      this.#wait(
        link,
        identity.then((late) => this.#identified(request, link, late)),
      )
    else this.#identified(request, link, identity)
  }

  /**
   * What to say to a Binding request; undefined when nothing.
   * @param at position among `sockets` of the one that it came to
   * @param bounded its source may be forged
   */
  binding(data: Uint8Array, from: Address, sockets: readonly Address[], at: number, bounded: boolean): Reply | undefined {
    const { strangers, responder, around } = this.#options
    if (bounded) strangers.heard(data.length)
    if (bounded && !strangers.admit(from, this.#timers.now())) {
      around.counters.ignored.limited++
      return undefined
    }
    const reply = responder.answer(data, from, sockets, at)
    if (reply === undefined) around.counters.ignored.malformed++
    else {
      around.counters.bindings++
      if (bounded) strangers.answered(reply.data.length)
    }
    return reply
  }

  /** What came while a request waited. */
  #wait(link: Link, work: Promise<void>): void {
    link.waiting = []
    link.keep()
    const done = (): void => {
      const waited = link.waiting ?? []
      link.waiting = undefined
      if (link.allocation === undefined) link.forget()
      if (!link.gone) for (const data of waited) link.again(data)
    }
    work.then(done, (error: unknown) => {
      // A fault of ours: the client asks again, the others are served.
      this.#options.log({ event: 'warning', subject: 'fault', message: String(error) })
      done()
    })
  }

  #identify(request: Message, link: Link): Identity | Promise<Identity | Busy> | Busy {
    const { authenticator } = this.#options
    const { allocation } = link
    const own = allocation === undefined ? undefined : authenticator.ofOwner(request, link, allocation.owner)
    return own ?? authenticator.ofAnyone(request, link)
  }

  #identified(request: Message, link: Link, identity: Identity | Busy): void | Promise<void> {
    // The relay, or its connection, may have been closed while a password was waited for.
    if (link.gone) return
    if (identity === 'busy') this.#options.around.counters.ignored.busy++
    else if (identity.kind === 'refused') this.#turnAway(request, link, identity)
    else return this.#act(request, link, identity)
  }

  /** 400, 401, 438: as short as they can be, and not too many of them. */
  #turnAway(request: Message, link: Link, { code, user, reason, proven }: Refused): void {
    const { strangers, verifier, around, log, wallTime } = this.#options
    const bounded = link.transport === 'udp' && !proven
    if (bounded && !strangers.admit(link.client, this.#timers.now())) {
      around.counters.ignored.limited++
      return
    }
    const writer = this.#writer.start('error', request.method, request.transactionId)
    verifier.writeRejection(writer, { kind: 'rejected', code, reason: '' }, link.client, wallTime())
    const size = this.#send(request, link)
    if (link.transport !== 'udp' && ++link.refusals > MOST_REFUSALS) link.disconnect()
    if (bounded) strangers.answered(size)
    around.counters.error(code)
    if (user === undefined) return
    around.counters.authenticationFailures++
    log({ event: 'authentication-failed', user, reason, client: link.client.key, transport: link.transport })
  }

  #act(request: Message, link: Link, identity: Accepted): void | Promise<void> {
    const { allocation } = link
    const unknown = request.unknownRequired(KNOWN)
    if (unknown.length > 0) {
      this.#refuse(request, link, identity, fail(StunError.UnknownAttribute, 'Unknown Attribute'), unknown)
      return
    }
    if (request.method === Method.Allocate) return this.#allocate(request, link, identity)
    const failure =
      allocation === undefined
        ? MISMATCH
        : allocation.owner.username === identity.owner.username
          ? this.#change(request, link, identity, allocation)
          : WRONG_CREDENTIALS
    if (failure !== undefined) this.#refuse(request, link, identity, failure)
  }

  /** Requests on a standing allocation. They can come again: each does the same once more. */
  #change(request: Message, link: Link, identity: Accepted, allocation: Allocation): Failure | undefined {
    // It has heard the answer to its Allocate.
    allocation.answer = undefined
    switch (request.method) {
      case Method.Refresh:
        return this.#refresh(request, link, identity, allocation)
      case Method.CreatePermission:
        return this.#createPermission(request, link, identity, allocation)
      default:
        return this.#bindChannel(request, link, identity, allocation)
    }
  }

  #allocate(request: Message, link: Link, identity: Accepted): void | Promise<void> {
    const { allocation } = link
    if (allocation !== undefined) {
      const { answer } = allocation
      if (answer?.transactionKey === request.transactionKey && allocation.owner.username === identity.owner.username) {
        // RFC 8656 7.2: it asks again because the answer was lost.
        link.reply(answer.response)
      } else this.#refuse(request, link, identity, MISMATCH)
      return
    }
    const wish = readAllocate(request)
    if (wish.kind === 'failure') {
      this.#refuse(request, link, identity, wish)
      return
    }
    const made = this.#options.allocations.create(wish, identity.owner, link).then((result) => {
      if (result === undefined) return
      if (result.kind === 'failure') this.#refuse(request, link, identity, result)
      else this.#tellCreated(request, link, identity, result)
    })
    // Asked with a password that had to be waited for, it is waiting already.
    if (link.waiting !== undefined) return made
    this.#wait(link, made)
  }

  #tellCreated(request: Message, link: Link, identity: Accepted, { allocation, lifetime, token, missing }: Created): void {
    const writer = this.#writer.start('success', Method.Allocate, request.transactionId)
    for (const relayed of allocation.relayed) writer.address(Attribute.XorRelayedAddress, relayed)
    writer.address(Attribute.XorMappedAddress, link.client).uint32(Attribute.Lifetime, Math.floor(lifetime / 1000))
    if (token !== undefined) writer.bytes(Attribute.ReservationToken, token)
    if (missing !== undefined) writer.bytes(Attribute.AddressErrorCode, addressErrorCode(missing))
    this.#succeed(request, link, identity, (response) => {
      if (link.transport === 'udp') allocation.answer = { transactionKey: request.transactionKey, response }
    })
  }

  /** RFC 8656 8.2. */
  #refresh(request: Message, link: Link, identity: Accepted, allocation: Allocation): Failure | undefined {
    const asked = readLifetime(request)
    if (asked === 'malformed') return badRequest('malformed LIFETIME')
    const family = readFamily(request, Attribute.RequestedAddressFamily)
    if (family === 'malformed') return badRequest('malformed address family')
    if (family !== undefined && (family === 'unknown' || !allocation.hasFamily(family))) return familyMismatch()
    const lifetime = asked === 0 ? 0 : this.#options.allocations.lifetime(asked)
    this.#writer.start('success', Method.Refresh, request.transactionId).uint32(Attribute.Lifetime, Math.floor(lifetime / 1000))
    this.#succeed(request, link, identity)
    if (lifetime > 0) allocation.refresh(lifetime)
    else if (family === undefined || allocation.relayed.length === 1) allocation.end('released')
    else allocation.dropFamily(family)
    return undefined
  }

  /** RFC 8656 10.2: all of them or none. */
  #createPermission(request: Message, link: Link, identity: Accepted, allocation: Allocation): Failure | undefined {
    const peers = request.addresses(Attribute.XorPeerAddress)
    if (peers.length === 0 || peers.length !== request.count(Attribute.XorPeerAddress)) return badRequest('no XOR-PEER-ADDRESS')
    const { peers: table } = allocation
    const added = new Set<string>()
    for (const peer of peers) {
      const failure = this.#checkPeer(peer, allocation)
      if (failure !== undefined) return failure
      if (!table.permits(peer.ip)) added.add(peer.ip)
    }
    if (table.permissions + added.size > this.#options.permissionsPerAllocation) return tooManyPermissions()
    const now = this.#timers.now()
    for (const { ip } of peers) table.permit(ip, now)
    allocation.peersChanged(now)
    this.#writer.start('success', Method.CreatePermission, request.transactionId)
    this.#succeed(request, link, identity)
    return undefined
  }

  /** RFC 8656 12.2. */
  #bindChannel(request: Message, link: Link, identity: Accepted, allocation: Allocation): Failure | undefined {
    const value = request.value(Attribute.ChannelNumber)
    const address = request.address(Attribute.XorPeerAddress)
    if (value?.length !== 4 || address === undefined) return badRequest('no CHANNEL-NUMBER or no XOR-PEER-ADDRESS')
    const number = ((value[0] as number) << 8) | (value[1] as number)
    if (number < FIRST_CHANNEL || number > LAST_OLD_CHANNEL) return badRequest('channel number out of range')
    const { peers: table } = allocation
    const bound = table.channel(number)
    if (bound !== undefined && !bound.peer.address.equals(address)) return badRequest('channel bound to another peer')
    const other = table.channelTo(address)
    if (other !== undefined && other.number !== number) return badRequest('peer bound to another channel')
    const failure = this.#checkPeer(address, allocation)
    if (failure !== undefined) return failure
    if (!table.permits(address.ip) && table.permissions >= this.#options.permissionsPerAllocation) return tooManyPermissions()
    if (bound === undefined && table.channels >= MOST_CHANNELS) return tooManyChannels()
    const now = this.#timers.now()
    table.permit(address.ip, now)
    table.bind(number, bound?.peer ?? new Peer(address, this.#options.around.policy), now)
    allocation.peersChanged(now)
    this.#writer.start('success', Method.ChannelBind, request.transactionId)
    this.#succeed(request, link, identity)
    return undefined
  }

  #checkPeer(peer: Address, allocation: Allocation): Failure | undefined {
    if (!allocation.hasFamily(peer.family)) return familyMismatch(peer.key)
    return this.#options.around.policy.judge(peer) === 'denied' ? fail(StunError.Forbidden, 'Forbidden', peer.key) : undefined
  }

  #refuse(request: Message, link: Link, identity: Accepted, failure: Failure, unknown: readonly number[] = []): void {
    const { verifier, around, log } = this.#options
    const { code, reason, peer } = failure
    const writer = this.#writer.start('error', request.method, request.transactionId).errorCode(code, reason)
    if (unknown.length > 0) writer.unknownAttributes(unknown)
    verifier.authenticate(writer, { key: identity.owner.key, sha256: identity.sha256 })
    this.#send(request, link)
    around.counters.error(code)
    const { client, transport } = link
    log({
      event: 'refused',
      user: identity.owner.user,
      method: NAMES.get(request.method) ?? '',
      code,
      reason,
      client: client.key,
      transport,
      ...(peer === undefined ? {} : { peer }),
    })
  }

  /** Ends what the writer has begun. */
  #succeed(request: Message, link: Link, { owner: { key }, sha256 }: Accepted, sent?: (response: Uint8Array) => void): void {
    this.#options.verifier.authenticate(this.#writer, { key, sha256 })
    this.#options.around.counters.successes++
    this.#send(request, link, sent)
  }

  /** RFC 8489 7: FINGERPRINT for who sent it, and for nobody else. */
  #send(request: Message, link: Link, sent?: (response: Uint8Array) => void): number {
    if (request.has(Attribute.Fingerprint)) this.#writer.fingerprint()
    const written = this.#writer.finish()
    const response = this.#slab.take(written.length)
    response.set(written)
    link.reply(response)
    sent?.(response)
    return response.length
  }
}

function familyMismatch(peer?: string): Failure {
  return fail(StunError.PeerAddressFamilyMismatch, 'Peer Address Family Mismatch', peer)
}

function tooManyPermissions(): Failure {
  return fail(StunError.InsufficientCapacity, 'Insufficient Capacity: too many permissions')
}

function tooManyChannels(): Failure {
  return fail(StunError.InsufficientCapacity, 'Insufficient Capacity: too many channels')
}

/** RFC 8656 18.12: family, class and number; no reason phrase. */
function addressErrorCode({ family, code }: NonNullable<Created['missing']>): Uint8Array {
  return Uint8Array.of(family === 4 ? 1 : 2, 0, Math.trunc(code / 100), code % 100)
}
