/** What only the system's own sockets can show: sends that it refuses, and what floods leave in memory. */
import { setTimeout as sleep } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { expect, it, onTestFinished } from 'vitest'
import type { Lab, LabHost } from '../../../src/lab/index.ts'
import { Address, type DatagramSocket } from '../../../src/net/index.ts'
import { nodeNetwork } from '../../../src/net/node/index.ts'
import { createRelay, type Relay } from '../../../src/relay/index.ts'
import { Attribute, MessageWriter, Method } from '../../../src/stun/index.ts'
import { codeOf, TurnClient, UDP } from './turn-client.ts'

const network = nodeNetwork()
setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void

async function relayHere(): Promise<Relay> {
  const relay = await createRelay({
    network,
    port: 0,
    tcp: false,
    addresses: ['127.0.0.1'],
    users: { alice: 'wonder' },
    peers: { private: true },
  })
  onTestFinished(() => relay.close())
  return relay
}

/** The client of the lab's tests asks for no more of a lab and of a host than this. */
function clientHere(server: Address): Promise<TurnClient> {
  const lab = { run: () => sleep(50) } as unknown as Lab
  return TurnClient.udp(lab, { addresses: [Address.of('127.0.0.1', 0)], bind: network.bind } as unknown as LabHost, server)
}

it('a peer that the system does not send to, and datagrams that are too long for it, are lost and nothing else', async () => {
  const relay = await relayHere()
  const alice = await clientHere(relay.addresses.udp[0]!)
  onTestFinished(() => alice.close())
  await alice.allocate()
  // From loopback there is no way out: EINVAL.
  const nowhere = Address.of('192.0.2.1', 9)
  expect(codeOf(await alice.permit(nowhere, nowhere.withPort(0)))).toBe('success')
  alice.say('lost', nowhere)
  alice.say('port 0', nowhere.withPort(0))
  await alice.bind(0x4000, Address.of('127.0.0.1', 9))
  for (let i = 0; i < 3; i++) {
    const data = new Uint8Array(65_507)
    data.set([0x40, 0, 0xff, 0xdf])
    alice.send(data)
  }
  expect(codeOf(await alice.refresh(600))).toBe('success')
  expect(relay.status()).toMatchObject({ allocations: 1, counters: { packetsToPeers: 5 } })
})

it('a flood of strangers leaves no memory behind', { timeout: 60_000 }, async () => {
  const relay = await relayHere()
  const [server] = relay.addresses.udp as [Address]
  const request = new MessageWriter()
    .start('request', Method.Allocate, new Uint8Array(12))
    .uint32(Attribute.RequestedTransport, UDP)
    .finish()
    .slice()
  /** From a hundred ports, so many times. */
  const flood = async (times: number): Promise<number> => {
    const sockets: DatagramSocket[] = await Promise.all(
      Array.from({ length: 100 }, () => network.bind({ family: 4, ip: '127.0.0.1', buffer: 65_536 })),
    )
    for (let i = 0; i < times; i++) {
      for (const socket of sockets) socket.send(request, server)
      await sleep(1)
    }
    for (const socket of sockets) socket.close()
    await sleep(50)
    collect()
    return process.memoryUsage().heapUsed
  }
  await flood(100)
  const before = await flood(100)
  const after = await flood(100)
  const { counters } = relay.status()
  expect(counters.ignored.limited).toBeGreaterThan(10_000)
  // A table of nonces would keep some hundred for each, at least.
  expect((after - before) / 10_000).toBeLessThan(50)
})
