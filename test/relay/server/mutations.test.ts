/**
 * Messages that are damaged, and messages that make no sense but are authentic, over UDP and over a stream that is cut anywhere. Nothing
 * throws (a throw in a network callback fails the run of the lab), and the allocation of somebody else keeps flowing without a loss.
 * `RELAY_MUTATIONS=1000000 npx vitest run test/relay/server/mutations.test.ts` tries more; `RELAY_SEED` draws others.
 */
import { expect, it } from 'vitest'
import type { Address } from '../../../src/net/index.ts'
import { Attribute, Message, MessageWriter, Method } from '../../../src/stun/index.ts'
import { open, say } from '../../lab/talk.ts'
import { SeededRandom } from '../../stun/manual-clock.ts'
import { setStage } from './stage.ts'
import { channelData, TurnClient, UDP } from './turn-client.ts'

const MUTATIONS = Number(process.env.RELAY_MUTATIONS ?? 12_000)
const SEED = Number(process.env.RELAY_SEED ?? 7)
const METHODS = [Method.Allocate, Method.Refresh, Method.CreatePermission, Method.ChannelBind, Method.Binding, Method.Connect]
const TYPES = Object.values(Attribute).filter(
  (type) => ![Attribute.MessageIntegrity, Attribute.MessageIntegritySha256, Attribute.Fingerprint].includes(type as never),
)

class Dice {
  readonly #random: SeededRandom

  constructor(seed: number) {
    this.#random = new SeededRandom(seed)
  }

  /** From 0 to below `limit`, which is 65,536 at most. */
  below(limit: number): number {
    const [high, low] = this.#random.bytes(2)
    return ((high! << 8) | low!) % limit
  }

  bytes(length: number): Uint8Array {
    return this.#random.bytes(length)
  }

  of<T>(list: readonly T[]): T {
    return list[this.below(list.length)]!
  }
}

/** Attributes of all kinds in any order, some with values that mean something. */
function nonsense(dice: Dice, peers: readonly Address[]) {
  return (writer: MessageWriter): void => {
    for (let i = dice.below(6); i > 0; i--) {
      switch (dice.below(8)) {
        case 0:
          writer.bytes(dice.of(TYPES), dice.bytes(dice.below(24)))
          break
        case 1:
          writer.uint32(Attribute.RequestedTransport, UDP)
          break
        case 2:
          writer.uint32(Attribute.Lifetime, dice.of([0, 1, 600, 0xffff_ffff]))
          break
        case 3:
          writer.uint32(Attribute.ChannelNumber, dice.of([0x4000, 0x4001, 0x4fff, 0x5000]) * 0x1_0000)
          break
        case 4:
          writer.uint32(dice.of([Attribute.RequestedAddressFamily, Attribute.AdditionalAddressFamily]), dice.below(4) << 24)
          break
        case 5:
          writer.bytes(Attribute.EvenPort, Uint8Array.of(dice.of([0, 0x80])))
          break
        default:
          writer.address(Attribute.XorPeerAddress, dice.of(peers))
      }
    }
  }
}

/** A byte or some changed, cut, or prolonged. */
function damaged(dice: Dice, data: Uint8Array): Uint8Array {
  const copy = data.slice()
  for (let i = 1 + dice.below(3); i > 0; i--)
    copy[dice.below(dice.below(2) === 0 ? copy.length : Math.min(copy.length, 32))] = dice.below(256)
  const end = dice.below(8)
  return end === 0
    ? copy.subarray(0, dice.below(copy.length + 1))
    : end === 1
      ? Uint8Array.of(...copy, ...dice.bytes(1 + dice.below(9)))
      : copy
}

it('the relay outlives them all, and who has an allocation notices nothing', { timeout: 3_600_000 }, async () => {
  const { client, lab, relay, at } = await setStage({ strangers: { perSecond: Number.POSITIVE_INFINITY } }, { delay: 1 })
  const dice = new Dice(SEED)
  const alice = await client()
  const peer = await open(lab.host('peer'))
  const relayed = await alice.relayed()
  await alice.bind(0x4000, peer.address)
  let refreshed = 0
  const peers = [peer.address, at, relayed, at.withPort(0), peer.address.withPort(0)]
  const overUdp = await client()
  const host = lab.host('mallory')
  let overTcp = await TurnClient.tcp(lab, host, at)
  const answers = new Map<unknown, number>()

  for (let i = 0; i < MUTATIONS; i++) {
    if (overTcp.closed) overTcp = await TurnClient.tcp(lab, host, at)
    const mallory = dice.below(2) === 0 ? overUdp : overTcp
    const request = mallory.write(dice.of(METHODS), nonsense(dice, peers), dice.below(8) > 0)
    const indication = new MessageWriter().start('indication', dice.of([Method.Send, Method.Data, Method.Refresh]), dice.bytes(12))
    nonsense(dice, peers)(indication)
    indication.bytes(Attribute.Data, dice.bytes(dice.below(9)))
    const plain = [
      request.data,
      request.data,
      indication.finish().slice(),
      channelData(0x4000 + dice.below(2), 'data', mallory === overTcp),
    ]
    let data = dice.of(plain)
    if (dice.below(2) === 0) data = damaged(dice, data)
    if (mallory === overTcp && data.length > 1 && dice.below(2) === 0) {
      const cut = 1 + dice.below(data.length - 1)
      mallory.send(data.subarray(0, cut))
      if (dice.below(4) === 0) await lab.run(5)
      mallory.send(data.subarray(cut))
    } else mallory.send(data)
    if (i % 64 === 0) mallory.send(mallory.write(Method.Allocate, (writer) => writer.uint32(Attribute.RequestedTransport, UDP)).data)
    if (i % 8 > 0) continue
    await lab.run(3)
    for (const heard of mallory.heard.splice(0)) {
      const message = Message.read(heard)
      const code = message?.errorCode()?.code ?? message?.class ?? 'channel data'
      answers.set(code, (answers.get(code) ?? 0) + 1)
      // Stays signed in, with whatever nonce and realm it is given.
      if (message?.class === 'error' && (code === 401 || code === 438)) mallory.credential.react(message, { challenge: undefined })
    }
    say(peer, relayed, `${i}`)
    if (lab.clock.now() - refreshed > 200_000) {
      refreshed = lab.clock.now()
      await alice.refresh(3600)
      await alice.bind(0x4000, peer.address)
      alice.send(channelData(0x4000, 'there'))
    }
  }
  await lab.run(1000)
  expect(alice.take()).toEqual(Array.from({ length: Math.ceil(MUTATIONS / 8) }, (_, i) => `4000 ${8 * i}`))
  for (const code of [400, 401, 403, 420, 437, 443, 'success']) expect(answers.get(code), `answers with ${code}`).toBeGreaterThan(0)
  expect(relay.status().counters.ignored.malformed).toBeGreaterThan(MUTATIONS / 50)
  expect(relay.status().allocations).toBeLessThanOrEqual(3)
})
