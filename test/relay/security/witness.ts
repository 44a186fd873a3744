/**
 * Two who use the relay while others abuse it: a client and a peer that exchange numbered datagrams over a channel. Each round trip also
 * tells that the server has read all that was sent to the same socket before it: floods are paced by it, so that nothing depends on a clock.
 */
import { createSocket, type Socket } from 'node:dgram'
import { once } from 'node:events'
import type { Address } from '../../../src/net/index.ts'
import type { Party } from './party.ts'
import { CHANNEL_BIND, channelData, channelNumber, ip4, xorPeer } from './wire.ts'

const CHANNEL = 0x4abc
/** Milliseconds until the kernel is taken to have dropped one. */
const PATIENCE = 1_000
const LOOPBACK = ip4('127.0.0.1')

export class Witness {
  readonly client: Party
  /** Round trips; and datagrams that did not come back in time. */
  beats = 0
  lost = 0
  /** What came and was not what had been sent. */
  readonly damaged: string[] = []
  readonly #peer: Socket
  readonly #relayed: Address
  #number = 0
  readonly #awaited = new Map<number, () => void>()

  private constructor(client: Party, peer: Socket, relayed: Address) {
    this.client = client
    this.#peer = peer
    this.#relayed = relayed
    const { port, address } = peer.address()
    peer.on('message', (data, from) => {
      if (from.port !== relayed.port || numberOf(data) === undefined) this.damaged.push(`to ${address}:${port}: ${data.toString('hex')}`)
      peer.send(data, this.#relayed.port, this.#relayed.ip)
    })
    client.heard = (data) => {
      const number = data[0] === CHANNEL >> 8 && data[1] === (CHANNEL & 0xff) ? numberOf(data.subarray(4)) : undefined
      if (number === undefined) this.damaged.push(`to the client: ${Buffer.from(data).toString('hex')}`)
      else this.#awaited.get(number)?.()
    }
  }

  /** Over the transport of the client, who has no allocation yet. The server has to permit peers on loopback. */
  static async over(client: Party): Promise<Witness> {
    const relayed = await client.allocate()
    if (typeof relayed === 'number') throw new Error(`no allocation for the witness: ${relayed}`)
    const peer = createSocket({ type: 'udp4' })
    peer.bind({ address: '127.0.0.1', port: 0, exclusive: true })
    await once(peer, 'listening')
    const { port } = peer.address()
    const { code } = await client.request(CHANNEL_BIND, (id) => Buffer.concat([channelNumber(CHANNEL), xorPeer(LOOPBACK, port, id)]))
    if (code !== undefined) throw new Error(`no channel for the witness: ${code}`)
    return new Witness(client, peer, relayed)
  }

  /** One there and back; several at once are each their own. Tries again with the next number until one arrives. */
  async beat(): Promise<void> {
    for (;;) {
      const number = this.#number++
      const back = await new Promise<boolean>((resolve) => {
        const timer = setTimeout(() => resolve(false), PATIENCE)
        this.#awaited.set(number, () => {
          clearTimeout(timer)
          resolve(true)
        })
        this.client.send(channelData(CHANNEL, payloadOf(number), this.client.stream !== undefined))
      })
      this.#awaited.delete(number)
      if (back) {
        this.beats++
        return
      }
      if (this.client.closed) throw new Error('the witness was disconnected')
      this.lost++
    }
  }

  close(): void {
    this.client.close()
    this.#peer.close()
  }
}

/** Its number, and bytes that follow from it. */
function payloadOf(number: number): Buffer {
  const payload = Buffer.alloc(5 + (number % 61), number & 0xff)
  payload.writeUInt32BE(number)
  return payload
}

function numberOf(payload: Uint8Array): number | undefined {
  if (payload.length < 5) return undefined
  const number = Buffer.from(payload).readUInt32BE()
  return payloadOf(number).equals(payload) ? number : undefined
}
