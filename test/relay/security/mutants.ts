/**
 * Damaged TURN: valid messages of every kind, changed in one place or several. Some are put in order again, with the right length and the
 * right integrity behind the damage, so that what lies behind the authentication is reached; some are as the damage left them.
 */

import { MUTATIONS } from '../../../fuzz/engine/mutations.js'
import { Random } from '../../../fuzz/engine/random.js'
import { changeMessage } from '../../../fuzz/scene/attributes.js'
import {
  ADDITIONAL_FAMILY,
  ALLOCATE,
  attribute,
  BINDING,
  CHANNEL_BIND,
  CREATE_PERMISSION,
  type Credentials,
  channelData,
  channelNumber,
  DATA,
  ip4,
  lifetime,
  message,
  newId,
  REFRESH,
  SEND_INDICATION,
  UDP,
  withIntegrity,
  xorPeer,
} from './wire.ts'

/** Of loopback, and nobody else's: what the relay lets through must not get to who has nothing to do with it. */
export const SINK_IP = '127.0.0.77'
const SINK: Buffer = ip4(SINK_IP)
const LONGEST = 1_400

export interface Mutant {
  readonly data: Buffer
  /** On a stream, what comes behind it is read as what it is: its own length tells where it ends. */
  readonly framed: boolean
}

export class Mutants {
  readonly #random: Random
  readonly #peerPort: number
  #made = 0

  /** @param peerPort of a peer on that address, which takes whatever comes */
  constructor(seed: number, peerPort: number) {
    this.#random = new Random(seed)
    this.#peerPort = peerPort
  }

  get random(): Random {
    return this.#random
  }

  /** The next one, of a client with these credentials. */
  next(credentials: Credentials, padded: boolean): Mutant {
    const random = this.#random
    const isChannelData = ++this.#made % 6 === 0
    const seed = isChannelData ? this.#channelData(padded) : this.#message(credentials)
    let data: Uint8Array = seed
    for (let changes = 1 + random.below(3); changes > 0; changes--) {
      data =
        !isChannelData && random.below(2) === 0
          ? changeMessage(data, random, this.#message(credentials))
          : random.of(MUTATIONS)(data, random, { other: seed, dictionary: [] })
    }
    if (data.length > LONGEST) data = data.subarray(0, LONGEST)
    const raw = Buffer.from(data)
    // As the damage left it. On a stream that is the end of the connection, as a rule.
    const loose = random.below(padded ? 24 : 4) === 0
    if (isChannelData) return loose || raw.length < 4 ? { data: raw, framed: false } : this.#framedChannelData(raw, padded)
    const whole = raw.length < 20 ? Buffer.from(message(BINDING, raw.subarray(0, raw.length & ~3))) : raw.subarray(0, raw.length & ~3)
    if (loose) return { data: raw, framed: false }
    const ordered = Buffer.from(whole)
    ordered.writeUInt16BE(ordered.length - 20, 2)
    if (random.below(8) !== 0) ordered[0] = ordered[0]! & 0x3f
    if (random.below(16) !== 0) ordered.writeUInt32BE(0x2112_a442, 4)
    const sealed = random.below(5) === 0 ? ordered : withIntegrity(ordered, credentials.key)
    return { data: sealed, framed: sealed[0]! < 0x40 }
  }

  #framedChannelData(raw: Buffer, padded: boolean): Mutant {
    raw.writeUInt16BE(raw.length - 4, 2)
    raw[0] = 0x40 | (raw[0]! & 0x3f)
    const padding = padded ? -raw.length & 3 : 0
    return { data: Buffer.concat([raw, Buffer.alloc(padding)]), framed: true }
  }

  #channelData(padded: boolean): Buffer {
    return channelData(0x4000 + this.#random.below(3), Buffer.alloc(this.#random.below(40), 7), padded)
  }

  /** A valid message without its integrity. */
  #message(credentials: Credentials): Buffer {
    const random = this.#random
    const id = newId()
    const { username, realm, nonce } = credentials
    const proof = Buffer.concat([attribute(0x0006, username), attribute(0x0014, realm), attribute(0x0015, nonce)])
    const peer = (): Buffer => {
      const ip = random.of([SINK, SINK, ip4('192.0.2.1'), ip4('224.0.0.1'), Buffer.alloc(16, random.below(256))])
      return xorPeer(ip, random.below(3) === 0 ? random.of([0, 9, 0xffff]) : this.#peerPort, id)
    }
    switch (random.below(10)) {
      case 0:
        return message(ALLOCATE, Buffer.concat([proof, UDP, lifetime(random.of([0, 600, 0xffff_ffff]))]), id)
      case 1:
        return message(
          ALLOCATE,
          Buffer.concat([proof, UDP, random.of([ADDITIONAL_FAMILY, attribute(0x0018, Uint8Array.of(random.below(256)))])]),
          id,
        )
      case 2:
        return message(REFRESH, Buffer.concat([proof, lifetime(random.of([0, 600, 600, 600]))]), id)
      case 3:
        return message(CREATE_PERMISSION, Buffer.concat([proof, ...Array.from({ length: random.below(4) }, peer)]), id)
      case 4:
      case 5:
        return message(CHANNEL_BIND, Buffer.concat([proof, channelNumber(0x4000 + random.below(4)), peer()]), id)
      case 6:
        return message(
          BINDING,
          Buffer.concat([attribute(0x0003, Uint8Array.of(0, 0, 0, random.below(8))), attribute(0x0026, Buffer.alloc(random.below(64)))]),
          id,
        )
      default:
        return message(SEND_INDICATION, Buffer.concat([peer(), attribute(DATA, Buffer.alloc(random.below(60), 9))]), id)
    }
  }
}
