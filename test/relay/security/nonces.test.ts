/** Requests that were overheard, changed or made for another address: a nonce is good for one client address and for a while, and the integrity ends a request. */
import { createHmac } from 'node:crypto'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { Address } from '../../../src/net/index.ts'
import { Attribute, Message } from '../../../src/stun/index.ts'
import { type Answer, Party } from './party.ts'
import { ServerProcess } from './server-process.ts'
import { ALLOCATE, attribute, CREATE_PERMISSION, type Credentials, ip4, lifetime, newId, REFRESH, sealed, UDP, xorPeer } from './wire.ts'

const STALE = 438
const MISMATCH = 437
const UNAUTHENTICATED = 401

const servers: ServerProcess[] = []
const parties: Party[] = []

afterEach(async () => {
  for (const party of parties.splice(0)) party.close()
  for (const server of servers.splice(0)) await server.stop()
})

async function start(made: Promise<ServerProcess> = ServerProcess.serve('--allow-private-peers')): Promise<ServerProcess> {
  const server = await made
  servers.push(server)
  return server
}

async function partyOf(made: Promise<Party>): Promise<Party> {
  const party = await made
  parties.push(party)
  return party
}

async function allocated(server: ServerProcess): Promise<Party & { readonly credentials: Credentials }> {
  const party = await partyOf(Party.udp(server.udp[0]!, 'alice'))
  expect(await party.allocate()).toBeInstanceOf(Address)
  if (party.credentials === undefined) throw new Error('no credentials')
  return party as Party & { readonly credentials: Credentials }
}

/** The lifetime that the server still gives the allocation: it is alive, and the client's. */
async function lives(party: Party): Promise<number | undefined> {
  const { code, message } = await party.request(REFRESH, () => lifetime(600))
  expect(code).toBeUndefined()
  return message.uint32(Attribute.Lifetime)
}

/** The same text with one character changed into another of its alphabet. */
function altered(text: string, at: number): string {
  return `${text.slice(0, at)}${text[at] === 'A' ? 'B' : 'A'}${text.slice(at + 1)}`
}

describe('a request that was overheard', () => {
  it('is refused with 438 once its nonce is stale, and ends no allocation', { timeout: 60_000 }, async () => {
    const server = await start(ServerProcess.shortNonces(3_000))
    const party = await allocated(server)
    // Heard on the way and held back: authentic in all, and never seen by the server.
    const { credentials } = party
    const held = [sealed(REFRESH, lifetime(0), credentials), sealed(ALLOCATE, UDP, credentials)]
    let answer: Answer
    do answer = await party.ask(sealed(CREATE_PERMISSION, Buffer.alloc(0), credentials))
    while (answer.code !== STALE)
    for (const data of held) expect((await party.ask(data)).code).toBe(STALE)
    expect(await lives(party)).toBe(600)
    // Nor does it help that whoever has it sends it from where he is.
    const mallory = await partyOf(Party.udp(server.udp[0]!))
    for (const data of held) expect((await mallory.ask(data)).code).toBe(STALE)
    expect(await lives(party)).toBe(600)
  })

  it('is refused with 438 from another port, from another address and over another transport, while its nonce is fresh', async () => {
    const server = await start()
    const party = await allocated(server)
    const held = sealed(REFRESH, lifetime(0), party.credentials)
    const others = [
      await partyOf(Party.udp(server.udp[0]!)),
      await partyOf(Party.udp(server.udp[0]!, 'mallory', '127.0.0.9')),
      await partyOf(Party.tcp(server.tcp[0]!)),
    ]
    for (const other of others) expect((await other.ask(held)).code).toBe(STALE)
    expect(await lives(party)).toBe(600)
    expect(await server.metric('relay_allocations')).toBe(1)
  })

  it('is refused with 438 by a relay whose nonces are other ones, as after a restart', async () => {
    const [one, other] = [await start(), await start()]
    const { credentials } = await allocated(one)
    const party = await partyOf(Party.udp(other.udp[0]!, 'alice'))
    expect((await party.ask(sealed(ALLOCATE, UDP, credentials))).code).toBe(STALE)
    expect(await other.metric('relay_allocations')).toBe(0)
  })

  it('that made an allocation makes no second one when it is sent again, and none when the first is gone but for its own client', async () => {
    const server = await start()
    const party = await partyOf(Party.udp(server.udp[0]!, 'alice'))
    const credentials = await party.challenge()
    const held = sealed(ALLOCATE, UDP, credentials)
    const first = await party.ask(held)
    const again = await party.ask(held)
    // RFC 8656 7.2: a retransmission is answered as the first was.
    expect(again.message.data).toEqual(first.message.data)
    expect(await lives(party)).toBe(600)
    expect((await party.ask(held)).code).toBe(MISMATCH)
    expect(await server.metric('relay_allocations_created_total')).toBe(1)
  })
})

describe('a nonce', () => {
  let server: ServerProcess

  beforeAll(async () => {
    server = await ServerProcess.serve()
  })

  afterAll(() => server?.stop())

  it('with any of its characters changed is stale, whatever the request is signed with', async () => {
    const party = await allocated(server)
    const { credentials } = party
    const { nonce } = credentials
    expect(nonce).toHaveLength(30)
    const answers: (number | undefined)[] = []
    // Behind the cookie and its feature bits: time, and HMAC. The last one's low bits carry nothing.
    for (let at = 13; at < nonce.length - 1; at++) {
      answers.push((await party.ask(sealed(REFRESH, lifetime(0), { ...credentials, nonce: altered(nonce, at) }))).code)
    }
    expect(new Set(answers)).toEqual(new Set([STALE]))
    expect(await lives(party)).toBe(600)
  })

  it.each([
    ['cut', (nonce: string) => nonce.slice(0, -1)],
    ['prolonged', (nonce: string) => `${nonce}A`],
    ['empty', () => ''],
    ['of the cookie alone', (nonce: string) => nonce.slice(0, 13)],
    ['without the cookie', (nonce: string) => nonce.slice(13)],
    ['of another time', (nonce: string) => `${nonce.slice(0, 13)}AAAAAA${nonce.slice(19)}`],
    ['in other letters', (nonce: string) => nonce.toUpperCase()],
    ['of 700 characters', (nonce: string) => nonce.padEnd(700, 'A')],
  ])('%s is stale', async (_how, change) => {
    const party = await allocated(server)
    const { credentials } = party
    const { code, message } = await party.ask(sealed(REFRESH, lifetime(0), { ...credentials, nonce: change(credentials.nonce) }))
    expect([code, message.text(Attribute.Nonce)?.length]).toEqual([STALE, 30])
    expect(await lives(party)).toBe(600)
  })
})

describe('what follows the integrity of a request', () => {
  const LOOPBACK = ip4('127.0.0.1')

  it('is obeyed by nobody: no LIFETIME, no peer, no other transaction', async () => {
    const server = await start()
    const party = await allocated(server)
    const appended = (data: Uint8Array, more: Uint8Array): Buffer => {
      const longer = Buffer.concat([data, more])
      longer.writeUInt16BE(longer.length - 20, 2)
      return longer
    }
    // A Refresh of the default lifetime, with LIFETIME 0, and one an hour, behind.
    for (const seconds of [0, 3_600]) {
      const { code, message } = await party.request(
        REFRESH,
        () => Buffer.alloc(0),
        (data) => appended(data, lifetime(seconds)),
      )
      expect([code, message.uint32(Attribute.Lifetime)]).toEqual([undefined, 600])
    }
    const permitted = await party.request(
      CREATE_PERMISSION,
      (id) => xorPeer(LOOPBACK, 9, id),
      (data) => appended(data, xorPeer(ip4('127.0.0.2'), 9, data.subarray(8, 20))),
    )
    expect(permitted.code).toBeUndefined()
    expect(await server.metric('relay_permissions')).toBe(1)
    // With nothing but what is behind, there is nothing.
    const empty = await party.request(
      CREATE_PERMISSION,
      () => Buffer.alloc(0),
      (data) => appended(data, xorPeer(ip4('127.0.0.3'), 9, data.subarray(8, 20))),
    )
    expect(empty.code).toBe(400)
    // An unknown attribute that must be understood, and another user: neither is there.
    const more = Buffer.concat([attribute(0x7777, 'x'), attribute(0x0006, 'bob')])
    expect(
      (
        await party.request(
          REFRESH,
          () => Buffer.alloc(0),
          (data) => appended(data, more),
        )
      ).code,
    ).toBeUndefined()
    expect(await server.metric('relay_permissions')).toBe(1)
    expect(await lives(party)).toBe(600)
  })

  it('does not become a part of it by an integrity that is moved behind it', async () => {
    const server = await start()
    const party = await allocated(server)
    const honest = sealed(REFRESH, Buffer.alloc(0), party.credentials)
    const [body, integrity] = [honest.subarray(0, honest.length - 24), honest.subarray(honest.length - 24)]
    const moved = Buffer.concat([body, lifetime(0), integrity])
    moved.writeUInt16BE(moved.length - 20, 2)
    expect((await party.ask(moved)).code).toBe(UNAUTHENTICATED)
    expect(await lives(party)).toBe(600)
  })

  it('is not believed for an integrity of the wrong length, of another key or of an empty one', async () => {
    const server = await start()
    const party = await allocated(server)
    const { credentials } = party
    for (const length of [0, 1, 4, 16, 19, 21, 32]) {
      const id = newId()
      const head = sealed(REFRESH, lifetime(0), credentials, id)
      const bare = head.subarray(0, head.length - 24)
      const whole = Buffer.concat([bare, attribute(0x0008, Buffer.alloc(length))])
      whole.writeUInt16BE(whole.length - 20, 2)
      const tag = createHmac('sha1', credentials.key).update(whole.subarray(0, bare.length)).digest()
      tag.copy(whole, bare.length + 4, 0, length)
      expect([length, (await party.ask(whole)).code]).toEqual([length, UNAUTHENTICATED])
    }
    for (const key of [Buffer.alloc(16), Buffer.alloc(0), Buffer.from('secret')]) {
      expect((await party.ask(sealed(REFRESH, lifetime(0), { ...credentials, key }))).code).toBe(UNAUTHENTICATED)
    }
    expect(await lives(party)).toBe(600)
  })
})

describe('what is no request', () => {
  it('is answered by nobody, whoever sends it: an error that answers an error would go back and forth for ever', async () => {
    const server = await start()
    const alice = await allocated(server)
    const stranger = await partyOf(Party.udp(server.udp[0]!))
    const stream = await partyOf(Party.tcp(server.tcp[0]!))
    const answers = await everyAnswer(server, alice)
    expect(new Set(answers.map((data) => Message.read(data)?.errorCode()?.code))).toEqual(
      new Set([undefined, 400, 401, 403, 420, 437, 438]),
    )
    for (const party of [alice, stranger, stream]) {
      const heard: Uint8Array[] = []
      party.heard = (data) => heard.push(data)
      for (const answer of answers) {
        party.send(answer)
        const indication = Buffer.from(answer)
        indication.writeUInt16BE((answer.readUInt16BE(0) & ~0x0110) | 0x0010, 0)
        party.send(indication)
      }
      for (const channel of [0x4000, 0x4fff, 0x7fff])
        party.send(Buffer.concat([Buffer.from([channel >> 8, channel & 0xff, 0, 4]), Buffer.alloc(4)]))
      // Answered after all of that, and nothing else is.
      expect((await party.ask(Buffer.from(`000100002112a442${'77'.repeat(12)}`, 'hex'))).code).toBeUndefined()
      expect(heard).toEqual([])
    }
    expect(await lives(alice)).toBe(600)
    expect(server.trouble).toBe('')
  })

  it('goes nowhere between the server and one who sends back all that it gets', async () => {
    const server = await start()
    const echo = await partyOf(Party.udp(server.udp[0]!))
    let echoed = 0
    echo.heard = (data) => {
      echoed++
      echo.send(data)
    }
    const asked = [
      sealed(REFRESH, lifetime(0), { username: 'x', realm: 'x', nonce: 'x', key: Buffer.alloc(16) }),
      sealed(ALLOCATE, UDP, { username: 'x', realm: 'x', nonce: 'x', key: Buffer.alloc(16) }),
    ]
    for (const data of asked) echo.send(data)
    const alice = await allocated(server)
    for (let i = 0; i < 20; i++) expect(await lives(alice)).toBe(600)
    expect(echoed).toBe(asked.length)
  })

  /** One of each kind of response that the server gives. */
  async function everyAnswer(server: ServerProcess, alice: Party): Promise<Buffer[]> {
    const other = await partyOf(Party.udp(server.udp[0]!, 'alice'))
    const challenge = await other.ask(Buffer.concat([Buffer.from('000300082112a442', 'hex'), newId(), UDP]))
    const given = [
      challenge,
      await other.ask(Buffer.from(`000100002112a442${'66'.repeat(12)}`, 'hex')),
      await other.request(REFRESH, () => lifetime(0)),
      await other.ask(sealed(REFRESH, lifetime(0), { username: 'x', realm: 'x', nonce: 'x', key: Buffer.alloc(16) })),
      await alice.request(REFRESH, () => lifetime(600)),
      await alice.request(REFRESH, () => attribute(0x7777, 'x')),
      await alice.request(CREATE_PERMISSION, () => Buffer.alloc(0)),
      await alice.request(CREATE_PERMISSION, (id) => xorPeer(ip4('224.0.0.1'), 9, id)),
    ]
    return given.map(({ message }) => Buffer.from(message.data))
  }
})
