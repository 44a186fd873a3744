/** Our relay client on the operating system, for tests against other people's servers on this machine's loopback. */
import { randomBytes } from 'node:crypto'
import { expect } from 'vitest'
import { Address, type DatagramSocket, type Family, type Network, Timers } from '../../src/net/index.ts'
import { nodeNetwork } from '../../src/net/node/index.ts'
import { type Allocation, RelayClient, type RelayClientOptions } from '../../src/relay/client/index.ts'
import { parseServerUri } from '../../src/stun/index.ts'

export interface Client {
  readonly client: RelayClient
  readonly heard: { readonly data: Uint8Array; readonly from: Address }[]
  readonly told: string[]
  readonly failures: string[]
}

const SIZES = [0, 1, 2, 3, 4, 5, 100, 547, 1199, 1200]

export const network: Network = nodeNetwork()
const clients: RelayClient[] = []
const sockets: DatagramSocket[] = []

export function open(uri: string, options: Partial<RelayClientOptions> = {}): Client {
  const heard: Client['heard'] = []
  const told: string[] = []
  const failures: string[] = []
  const parsed = parseServerUri(uri)
  const host = parsed.host === 'relay.test' ? '127.0.0.1' : parsed.host
  const client = new RelayClient({
    network,
    timers: new Timers(network.clock),
    uri: parsed,
    text: uri,
    addresses: [Address.of(host, parsed.port)],
    credentials: async () => ({ username: 'alice', password: 'wonder' }),
    families: [4],
    outlet: {
      measured: () => void told.push('measured'),
      allocated: () => void told.push('allocated'),
      doubted: () => {},
      ended: () => {},
      lost: (_client, _allocation, { code }) => void told.push(`lost ${code}`),
      failed: (_client, { code }) => void told.push(`failed ${code}`),
      datagram: (_allocation, data, from) => void heard.push({ data: data.slice(), from }),
      sendFailed: (_allocation, to, failure) => void failures.push(`${failure} ${to.ip}`),
      drained: () => {},
    },
    ...options,
  })
  clients.push(client)
  client.start()
  client.allocate()
  return { client, heard, told, failures }
}

export async function until<T>(what: string, look: () => T | undefined | false): Promise<T> {
  for (let tries = 0; tries < 400; tries++) {
    const found = look()
    if (found !== undefined && found !== false) return found
    await pause(25)
  }
  throw new Error(`${what} did not happen`)
}

export function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds))
}

export const allocationOf = ({ client, told }: Client): Promise<Allocation> =>
  until('an allocation', () => {
    if (told.some((one) => one.startsWith('failed'))) throw new Error(client.failure?.message)
    return client.allocation
  })

/** A peer that sends everything back to where it came from. */
export async function echo(family: Family): Promise<Address> {
  const socket = await network.bind({ family, ip: family === 4 ? '127.0.0.1' : '::1' })
  sockets.push(socket)
  socket.handle({
    datagram: (data, from) => void socket.send(data, from),
    sendFailed: () => {},
    drained: () => {},
    lost: () => {},
  })
  return socket.local
}

/** Random payloads, of 0 to 1200 bytes by default, go to the peer and come back as they were, by Send indications first and by the channel then. */
export async function talk({ heard }: Client, allocation: Allocation, peer: Address, sizes: readonly number[] = SIZES): Promise<void> {
  for (const payload of [false, true, true]) {
    for (const size of sizes) {
      const sent = randomBytes(size)
      heard.length = 0
      allocation.send(sent, peer, payload)
      const { data, from } = await until(`${size} bytes back`, () => heard[0])
      expect(Buffer.compare(data, sent)).toBe(0)
      expect(from.key).toBe(peer.key)
    }
    if (payload) await until('a channel', () => allocation.status().channels > 0)
  }
  const { sent, indications } = allocation.counters
  expect([sent, indications < sent]).toEqual([sizes.length * 3, true])
}

/** For `afterEach`. */
export function closeAll(): void {
  for (const client of clients.splice(0)) client.close()
  for (const socket of sockets.splice(0)) socket.close()
}
