import { describe, expect, it } from 'vitest'
import { createTraversal, type Signal } from '../../src/index.ts'
import { Address, type DatagramHandler } from '../../src/net/index.ts'
import { Attribute, IntegrityKey, Message, MessageWriter, Method } from '../../src/stun/index.ts'
import { CountingNetwork } from './counting-network.ts'
import { createLab, join, makePeer, meet } from './meeting.ts'
import { countOperations } from './operation-count.ts'

const PWD = 'p'.repeat(24)

function checkFor({ ufrag, pwd }: Signal, sender: string, id: number): Uint8Array {
  const transaction = new Uint8Array(12)
  new DataView(transaction.buffer).setUint32(0, id)
  return new MessageWriter()
    .start('request', Method.Binding, transaction)
    .text(Attribute.Username, `${ufrag}:${sender}`)
    .uint32(Attribute.Priority, 1_862_270_975)
    .uint64(Attribute.IceControlled, 1n)
    .integrity(IntegrityKey.shortTerm(pwd))
    .fingerprint()
    .finish()
    .slice()
}

/**
 * A traversal with one connected session, and so many others on the same socket, each with a peer that checks from an address of its own.
 * What each kind of datagram costs, in steps.
 */
async function costs(others: number): Promise<Record<string, number>> {
  const lab = createLab({ seed: 3 })
  const network = new CountingNetwork(lab.host('hub'))
  const traversal = await createTraversal({ network })
  const hub = meet('hub', traversal, 'b')
  const b = await makePeer(lab.host('b'), 'hub', { servers: [] })
  lab.trace.start()
  let said: Signal | undefined
  hub.session.on('signal', (signal) => (said = signal))
  join(lab, hub, b)
  await lab.until(Promise.all([hub.session.ready, b.session.ready]))
  await lab.run(1_000)
  const handler = [...network.handlers.values()][0] as DatagramHandler
  const from = Address.of(hub.session.path?.remote.ip ?? '', hub.session.path?.remote.port ?? 0)
  const theirs = lab.trace.records.find(({ at, event, data }) => {
    return at === 'hub' && event === 'receive' && Message.read(data)?.class === 'request'
  })
  const answer = lab.trace.records.find(({ at, event, data }) => {
    return at === 'hub' && event === 'receive' && Message.read(data)?.class === 'success'
  })
  let last: { readonly signal: Signal; readonly from: Address } | undefined
  for (let i = 0; i < others; i++) {
    const session = traversal.connect({ peer: `p${i}` })
    const signal = await new Promise<Signal>((resolve) => session.once('signal', resolve))
    session.signal({ v: 1, ufrag: `peer${i}`, pwd: PWD, candidates: [] })
    const address = Address.of(`198.18.${i >> 8}.${i & 0xff}`, 5_000)
    handler.datagram(checkFor(signal, `peer${i}`, i), address)
    last = { signal, from: address }
  }
  expect(traversal.status().sessions).toBe(others + 1)
  if (last === undefined || said === undefined) throw new Error('nobody said anything')
  const { signal, from: lastFrom } = last
  const stranger = Address.of('192.0.2.66', 6_666)
  const data = new Uint8Array(100).fill(0xff)
  const again = theirs?.data.slice() ?? data
  const late = answer?.data.slice() ?? data
  const forLast = checkFor(signal, `peer${others - 1}`, 1_000_000)
  const forNobody = checkFor({ ...signal, ufrag: 'nobodyhere' }, 'x123', 1)
  const forged = checkFor({ ...signal, pwd: 'q'.repeat(24) }, `peer${others - 1}`, 2)
  const kinds: Record<string, () => unknown> = {
    'data of a session': () => handler.datagram(data, from),
    'data sent': () => hub.session.send(data),
    'a check of a connected peer': () => handler.datagram(again, from),
    'a check of another peer': () => handler.datagram(forLast, lastFrom),
    'a late answer': () => handler.datagram(late, from),
    'data of a stranger': () => handler.datagram(data, stranger),
    'a check for nobody': () => handler.datagram(forNobody, stranger),
    'a forged check': () => handler.datagram(forged, stranger),
    'a refusal to send to nobody’s address': () => handler.sendFailed(stranger, 'EHOSTUNREACH'),
  }
  // What the virtual internet does with it is not ours.
  for (const socket of network.sockets) socket.send = () => true
  const { received } = hub.session.status
  const counted = Object.fromEntries(Object.entries(kinds).map(([kind, run]) => [kind, countOperations(() => void run())]))
  expect(hub.session.status.received).toBe(received + 1)
  expect(traversal.status().dropped).toMatchObject({ stray: 1, unknownUfrag: 1, unauthenticated: 1 })
  await traversal.close()
  return counted
}

describe('C78 with ten thousand sessions on one socket', () => {
  it('a datagram of any kind takes as many steps as with ten', { timeout: 60_000 }, async () => {
    const [few, many] = [await costs(10), await costs(10_000)]
    expect(many).toEqual(few)
    expect(many).toMatchObject({ 'data of a session': 2, 'data sent': 0 })
  })
})
