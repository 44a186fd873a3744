import { createHash } from 'node:crypto'
import { beforeEach, describe, expect, it } from 'vitest'
import { Address } from '../../src/net/index.ts'
import {
  type Attempt,
  Attribute,
  decodePasswordAlgorithms,
  encodePasswordAlgorithms,
  IntegrityKey,
  LongTermCredential,
  LongTermVerifier,
  type LongTermVerifierOptions,
  Message,
  MessageWriter,
  Method,
  nonceCookie,
  nonceFeatures,
  userhash,
} from '../../src/stun/index.ts'
import { bytesOf, hexOf, vectors } from './stun-vectors.ts'

const CLIENT = Address.of('198.51.100.7', 1234)
const ID = new Uint8Array(12).fill(3)
const REALM = 'example.org'
const users = new Map([
  ['alice', 'wonder'],
  ['bob', 'builder'],
])

function serverOf(more: Partial<LongTermVerifierOptions> = {}): LongTermVerifier {
  const secret = new Uint8Array(32).fill(1)
  return new LongTermVerifier({ realm: REALM, secret, password: (name) => users.get(name), nonceLifetime: 1000, ...more })
}

const anonymous: Partial<LongTermVerifierOptions> = {
  usernameOf: (hash) => [...users.keys()].find((name) => hexOf(userhash(name, REALM)) === hash),
}

interface Exchange {
  readonly request: Message
  readonly response: Message
  readonly attempt: Attempt
}

/** One request and what a server says to it. */
function exchange(server: LongTermVerifier, credential: LongTermCredential, now = 0, client = CLIENT): Exchange {
  const writer = new MessageWriter().start('request', Method.Allocate, ID)
  const attempt = credential.authenticate(writer)
  const request = Message.read(writer.finish().slice())!
  return { request, response: respond(server, request, now, client), attempt }
}

function respond(server: LongTermVerifier, request: Message, now = 0, client = CLIENT): Message {
  const verdict = server.verify(request, client, now)
  const answer = new MessageWriter().start(verdict.kind === 'accepted' ? 'success' : 'error', request.method, request.transactionId)
  if (verdict.kind === 'accepted') server.authenticate(answer, verdict)
  else server.writeRejection(answer, verdict, client, now)
  return Message.read(answer.finish().slice())!
}

/** Signs in: the challenge and the request that meets it. */
function signIn(server: LongTermVerifier, credential: LongTermCredential, now = 0): Exchange {
  const first = exchange(server, credential, now)
  expect(credential.react(first.response, first.attempt)).toEqual({ kind: 'retry' })
  return exchange(server, credential, now)
}

let alice: LongTermCredential
/** The attempt of a request that went out before the server asked. */
const nothing = (): Attempt => alice.authenticate(new MessageWriter().start('request', Method.Allocate, ID))
const success = (): MessageWriter => new MessageWriter().start('success', Method.Allocate, ID)
beforeEach(() => {
  alice = new LongTermCredential('alice', 'wonder')
})

describe('security features', () => {
  it.each([
    [false, false, 'obMatJos2AAAA'],
    [true, false, 'obMatJos2gAAA'],
    [false, true, 'obMatJos2QAAA'],
    [true, true, 'obMatJos2wAAA'],
  ])('RFC 8489 9.2, 18.1: password algorithms %s and anonymity %s are %s', (passwordAlgorithms, usernameAnonymity, cookie) => {
    expect(nonceCookie({ passwordAlgorithms, usernameAnonymity })).toBe(cookie)
    expect(nonceFeatures(`${cookie}anything`)).toEqual({ passwordAlgorithms, usernameAnonymity })
  })

  const others = ['', 'obMatJos2', 'obMatJos2AAA', 'obMatJos2A*AA', 'f//499k954d6OL34oL9FSTvy64sA', ' obMatJos2AAAA']
  it.each(others)('RFC 8489 9.2: %j is no nonce cookie', (nonce) => {
    expect(nonceFeatures(nonce)).toBeUndefined()
  })

  it('RFC 8489 18.1: bits that have no meaning yet change nothing', () => {
    expect(nonceFeatures('obMatJos2P///x')).toEqual({ passwordAlgorithms: false, usernameAnonymity: false })
    expect(nonceFeatures('obMatJos2////x')).toEqual({ passwordAlgorithms: true, usernameAnonymity: true })
  })

  it('RFC 8489 14.4, B.1: USERHASH of the sample is the one that the RFC has', () => {
    const vector = vectors.find((one) => one.userhash !== undefined)!
    expect(hexOf(userhash(vector.longTerm!.username, vector.longTerm!.realm))).toBe(vector.userhash)
  })

  it('RFC 8489 14.11: PASSWORD-ALGORITHMS is a list of numbers and parameters', () => {
    expect(hexOf(encodePasswordAlgorithms(['SHA-256', 'MD5']))).toBe('0002000000010000')
    expect(decodePasswordAlgorithms(bytesOf('0002000000010000'))).toEqual(['SHA-256', 'MD5'])
  })

  it('RFC 8489 14.11: algorithms that are not known are passed over with their parameters', () => {
    expect(decodePasswordAlgorithms(bytesOf('00070003aabbcc0000010000'))).toEqual(['MD5'])
    expect(decodePasswordAlgorithms(bytesOf('00020001aa000000'))).toEqual([]) // SHA-256 has none
  })

  it.each(['00', '000200', '00020005aabbccdd', '0002000000'])('RFC 8489 14.11: %s is no list', (hex) => {
    expect(decodePasswordAlgorithms(bytesOf(hex))).toBeUndefined()
  })
})

describe('signing in', () => {
  it('RFC 8489 9.2.3.1: the first request carries nothing, and is challenged with 401', () => {
    const { request, response } = exchange(serverOf(), alice)
    const { Username, Userhash, Realm, Nonce, MessageIntegrity } = Attribute
    expect([Username, Userhash, Realm, Nonce, MessageIntegrity].filter((type) => request.has(type))).toEqual([])
    expect(response.errorCode()?.code).toBe(401)
    expect(response.text(Attribute.Realm)).toBe(REALM)
    expect(response.text(Attribute.Nonce)).toMatch(/^obMatJos2gAAA/)
    expect(hexOf(response.value(Attribute.PasswordAlgorithms)!)).toBe('0002000000010000')
  })

  it('RFC 8489 9.2.5: the second is under the first algorithm of the list, with SHA-256 integrity and the list as it came', () => {
    const { request, response, attempt } = signIn(serverOf(), alice)
    expect(request.text(Attribute.Username)).toBe('alice')
    expect(request.text(Attribute.Realm)).toBe(REALM)
    expect(hexOf(request.value(Attribute.PasswordAlgorithms)!)).toBe('0002000000010000')
    expect(hexOf(request.value(Attribute.PasswordAlgorithm)!)).toBe('00020000')
    expect([request.has(Attribute.MessageIntegrity), request.has(Attribute.MessageIntegritySha256)]).toEqual([false, true])
    expect([response.class, alice.verify(response, attempt), alice.accepts(response, attempt)]).toEqual(['success', 'valid', true])
    expect(response.has(Attribute.MessageIntegritySha256)).toBe(true)
  })

  it('works with a server of RFC 5389, with MD5 and MESSAGE-INTEGRITY', () => {
    const { request, response, attempt } = signIn(serverOf({ algorithms: [] }), alice)
    expect([request.has(Attribute.MessageIntegrity), request.has(Attribute.PasswordAlgorithm)]).toEqual([true, false])
    expect([response.class, alice.verify(response, attempt)]).toEqual(['success', 'valid'])
    expect(response.has(Attribute.MessageIntegrity)).toBe(true)
  })

  it('RFC 8489 9.2.4: a client of RFC 5389 is served with MD5 by a server of RFC 8489', () => {
    const server = serverOf()
    const writer = new MessageWriter().start('request', Method.Allocate, ID)
    writer.text(Attribute.Username, 'alice').text(Attribute.Realm, REALM).text(Attribute.Nonce, server.nonce(CLIENT, 0))
    const key = IntegrityKey.longTerm('alice', REALM, 'wonder')
    const response = respond(server, Message.read(writer.integrity(key).finish())!)
    expect([response.class, response.integrity(key), response.integritySha256(key)]).toEqual(['success', 'valid', 'absent'])
  })

  it('RFC 8489 9.2.5: uses USERHASH in place of USERNAME where the nonce asks for it', () => {
    const { request, response } = signIn(serverOf(anonymous), alice)
    expect([request.has(Attribute.Username), request.value(Attribute.Userhash)?.length]).toEqual([false, 32])
    expect(response.class).toBe('success')
  })

  it('knows the realm only after the challenge', () => {
    expect(alice.realm).toBeUndefined()
    signIn(serverOf(), alice)
    expect(alice.realm).toBe(REALM)
  })

  it('goes on under the same nonce for later requests', () => {
    const server = serverOf()
    signIn(server, alice)
    expect(exchange(server, alice, 999).response.class).toBe('success')
  })

  it('of several requests at once: each that was sent without credentials is retried', () => {
    const server = serverOf()
    const [one, two] = [exchange(server, alice), exchange(server, alice)]
    expect(alice.react(one.response, one.attempt).kind).toBe('retry')
    expect(alice.react(two.response, two.attempt).kind).toBe('retry')
    expect(exchange(server, alice).response.class).toBe('success')
  })

  it('with the wrong password is given up after one try (RFC 8489 9.2.5)', () => {
    const mallory = new LongTermCredential('alice', 'guess')
    const { response, attempt } = signIn(serverOf(), mallory)
    expect(response.errorCode()?.code).toBe(401)
    expect(mallory.react(response, attempt)).toMatchObject({ kind: 'give-up', reason: /refuses/ })
  })

  it('with a name that nobody has is refused like a wrong password', () => {
    const nobody = new LongTermCredential('nobody', 'x')
    const { response } = signIn(serverOf(), nobody)
    expect([response.errorCode()?.code, response.text(Attribute.Realm)]).toEqual([401, REALM])
  })

  it('is tried again with other credentials, once they were replaced', () => {
    const credential = new LongTermCredential('alice', 'expired')
    const server = serverOf()
    const { response, attempt } = signIn(server, credential)
    credential.replace('bob', 'builder')
    expect(credential.react(response, attempt).kind).toBe('retry')
    expect(exchange(server, credential).response.class).toBe('success')
  })

  it('is tried again when the realm is another one', () => {
    signIn(serverOf(), alice)
    const other = exchange(serverOf({ realm: 'other.example', secret: new Uint8Array(32).fill(2) }), alice)
    expect(other.response.errorCode()?.code).toBe(401)
    expect(alice.react(other.response, other.attempt).kind).toBe('retry')
    expect(alice.realm).toBe('other.example')
  })
})

describe('C66 nonces', () => {
  it('RFC 8489 9.2.4: grow stale, are answered with 438, and the request is sent again under the new one', () => {
    const server = serverOf()
    signIn(server, alice)
    const { response, attempt } = exchange(server, alice, 1000)
    expect(response.errorCode()?.code).toBe(438)
    expect(response.has(Attribute.PasswordAlgorithms)).toBe(true)
    expect(alice.accepts(response, attempt)).toBe(true)
    expect(alice.react(response, attempt)).toEqual({ kind: 'retry' })
    expect(exchange(server, alice, 1000).response.class).toBe('success')
  })

  it.each<[string, LongTermVerifierOptions['secret'], Address]>([
    ['another port of the client', new Uint8Array(32).fill(1), CLIENT.withPort(1235)],
    ['another address of the client', new Uint8Array(32).fill(1), Address.of('198.51.100.8', 1234)],
    ['a server with another secret', new Uint8Array(32).fill(2), CLIENT],
  ])('RFC 8489 9.2.4: are stale for %s', (_what, secret, client) => {
    signIn(serverOf(), alice)
    expect(exchange(serverOf({ secret }), alice, 0, client).response.errorCode()?.code).toBe(438)
  })

  it('from the future, cut, prolonged, and with another time in them are stale', () => {
    const server = serverOf()
    const good = server.nonce(CLIENT, 500)
    const key = IntegrityKey.longTerm('alice', REALM, 'wonder')
    const verdict = (nonce: string): unknown => {
      const writer = new MessageWriter().start('request', Method.Allocate, ID)
      writer.text(Attribute.Username, 'alice').text(Attribute.Realm, REALM).text(Attribute.Nonce, nonce)
      const result = server.verify(Message.read(writer.integrity(key).finish())!, CLIENT, 600)
      return result.kind === 'rejected' ? result.code : result.kind
    }
    expect(verdict(good)).toBe('accepted')
    const digits = good.slice(13, 19)
    for (const nonce of [
      server.nonce(CLIENT, 601),
      good.slice(0, -1),
      `${good}0`,
      `${good.slice(0, -1)}é`,
      'x',
      '',
      good.replace('gAAA', 'AAAA'),
      good.replace(digits, 'AAAAJX'),
      good.replace(digits, 'zz=zzz'),
    ])
      expect(verdict(nonce)).toBe(438)
  })

  it('and realms that are no text go back as they came, and the key is made of their bytes', () => {
    const realm = Uint8Array.of(0x66, 0xff, 0x00, 0x80)
    const nonce = Uint8Array.of(0xc3, 0x28, 0xfe, 0x01)
    const challenge = new MessageWriter().start('error', Method.Allocate, ID).errorCode(401, '')
    const response = Message.read(challenge.bytes(Attribute.Realm, realm).bytes(Attribute.Nonce, nonce).finish())!
    expect(alice.react(response, nothing()).kind).toBe('retry')
    const writer = new MessageWriter().start('request', Method.Allocate, ID)
    alice.authenticate(writer)
    const request = Message.read(writer.finish())!
    expect([request.value(Attribute.Realm), request.value(Attribute.Nonce)]).toEqual([realm, nonce])
    const [before, after] = [Buffer.from('alice:'), Buffer.from(':wonder')]
    const key = createHash('md5').update(before).update(realm).update(after).digest()
    expect(request.integrity(IntegrityKey.fromBytes(key))).toBe('valid')
  })

  it('that the server calls stale as it gives them out do not make a loop', () => {
    const server = serverOf()
    signIn(server, alice)
    const { request, attempt } = exchange(server, alice)
    const error = new MessageWriter().start('error', Method.Allocate, ID).errorCode(438, 'Stale Nonce').text(Attribute.Realm, REALM)
    for (const type of [Attribute.Nonce, Attribute.PasswordAlgorithms]) error.bytes(type, request.value(type)!)
    expect(alice.react(Message.read(error.finish())!, attempt)).toMatchObject({ kind: 'give-up', reason: /stale/ })
  })
})

describe('bid-down attacks', () => {
  const challenge = (nonce: string, algorithms?: string, code = 401): Message => {
    const writer = new MessageWriter().start('error', Method.Allocate, ID).errorCode(code, '')
    writer.text(Attribute.Realm, REALM).text(Attribute.Nonce, nonce)
    if (algorithms !== undefined) writer.bytes(Attribute.PasswordAlgorithms, bytesOf(algorithms))
    return Message.read(writer.finish())!
  }

  it.each([401, 438])('RFC 8489 9.2.5: a %i whose nonce tells of algorithms that are not there is not retried', (code) => {
    expect(alice.react(challenge('obMatJos2gAAAx', undefined, code), nothing())).toMatchObject({ kind: 'give-up', reason: /bid-down/ })
    expect(alice.realm).toBeUndefined()
  })

  it('RFC 8489 9.2.5: a list without an algorithm in common is not retried', () => {
    const reaction = alice.react(challenge('obMatJos2gAAAx', '00090000'), nothing())
    expect(reaction).toMatchObject({ kind: 'give-up', reason: /no password algorithm/ })
  })

  it('RFC 8489 9.2.5: other responses with such a nonce are ignored', () => {
    const message = new MessageWriter().start('success', Method.Allocate, ID).text(Attribute.Nonce, 'obMatJos2gAAAx').finish()
    expect(alice.accepts(Message.read(message)!, nothing())).toBe(false)
  })

  it('a server that spoke SHA-256 is not believed to have forgotten it', () => {
    const { attempt } = signIn(serverOf(), alice)
    expect(alice.react(challenge('plain', undefined, 438), attempt)).toMatchObject({ kind: 'give-up', reason: /bid-down/ })
  })

  it.each<[string, string | undefined, string | undefined]>([
    ['a shortened list', '00010000', '00010000'],
    ['a list in another order', '0001000000020000', '00010000'],
    ['a list without a choice', '0002000000010000', undefined],
    ['a choice without a list', undefined, '00010000'],
    ['a choice that is not on the list', '0002000000010000', '00030000'],
    ['two choices', '0002000000010000', '0002000000010000'],
  ])('RFC 8489 9.2.4: %s is a bad request', (_what, list, choice) => {
    const server = serverOf()
    const writer = new MessageWriter().start('request', Method.Allocate, ID)
    writer.text(Attribute.Username, 'alice').text(Attribute.Realm, REALM).text(Attribute.Nonce, server.nonce(CLIENT, 0))
    if (list !== undefined) writer.bytes(Attribute.PasswordAlgorithms, bytesOf(list))
    if (choice !== undefined) writer.bytes(Attribute.PasswordAlgorithm, bytesOf(choice))
    const response = respond(server, Message.read(writer.integritySha256(IntegrityKey.longTerm('alice', REALM, 'wonder')).finish())!)
    expect([response.errorCode()?.code, response.has(Attribute.Nonce), response.has(Attribute.Realm)]).toEqual([400, false, false])
  })
})

describe('texts that are longer than they may be', () => {
  it('RFC 8489 14.3: a user name of 509 bytes is that of nobody, one of 508 is good', () => {
    const [longest, longer] = ['e\u0301'.repeat(169).padEnd(339, '!'), 'e\u0301'.repeat(169).padEnd(340, '!')]
    expect([longest, longer].map((name) => new TextEncoder().encode(name).length)).toEqual([508, 509])
    // As they come: the client's side would bring them to a shorter form.
    const claimed = (name: string): unknown => {
      const writer = new MessageWriter().start('request', Method.Allocate, ID).text(Attribute.Username, name)
      writer.text(Attribute.Realm, REALM).text(Attribute.Nonce, 'any').bytes(Attribute.MessageIntegrity, new Uint8Array(20))
      return serverOf().read(Message.read(writer.finish().slice())!, CLIENT, 0)
    }
    expect(claimed(longest)).toMatchObject({ username: longest.normalize('NFC') })
    expect(claimed(longer)).toMatchObject({ username: undefined })
  })

  it.each([
    ['REALM', Attribute.Realm],
    ['NONCE', Attribute.Nonce],
  ])('RFC 8489 14.9, 14.10: a %s of 764 bytes is not answered', (name, type) => {
    const { attempt } = exchange(serverOf(), new LongTermCredential('alice', 'wonder'))
    const reaction = (length: number): unknown => {
      const writer = new MessageWriter().start('error', Method.Allocate, ID).errorCode(401, '')
      for (const one of [Attribute.Realm, Attribute.Nonce]) writer.text(one, (one === type ? 'x' : 'y').repeat(one === type ? length : 5))
      return new LongTermCredential('alice', 'wonder').react(Message.read(writer.finish().slice())!, attempt)
    }
    expect([name, reaction(763)]).toEqual([name, { kind: 'retry' }])
    expect(reaction(764)).toEqual({ kind: 'give-up', reason: 'error 401 with a REALM or NONCE that is too long' })
  })
})

describe('requests and responses that lack something', () => {
  it.each(['Username', 'Realm', 'Nonce'] as const)('RFC 8489 9.2.4: a request without %s is a bad one', (missing) => {
    const server = serverOf()
    const values = { Username: 'alice', Realm: REALM, Nonce: server.nonce(CLIENT, 0) }
    const writer = new MessageWriter().start('request', Method.Allocate, ID)
    for (const name of ['Username', 'Realm', 'Nonce'] as const) if (name !== missing) writer.text(Attribute[name], values[name])
    const request = Message.read(writer.integrity(IntegrityKey.shortTerm('x')).finish())!
    expect(server.verify(request, CLIENT, 0)).toMatchObject({ kind: 'rejected', code: 400 })
  })

  it('RFC 8489 9.2.5: a response without integrity, or with that of another key, is not accepted', () => {
    const server = serverOf()
    const { attempt } = signIn(server, alice)
    const bare = Message.read(success().finish())!
    const forged = Message.read(success().integritySha256(IntegrityKey.shortTerm('x')).finish())!
    const badRequest = Message.read(new MessageWriter().start('error', Method.Allocate, ID).errorCode(400, '').finish())!
    expect([bare, forged, badRequest].map((message) => alice.accepts(message, attempt))).toEqual([false, false, false])
    expect([alice.verify(bare, attempt), alice.verify(forged, attempt)]).toEqual(['absent', 'invalid'])
  })

  it('a response of SHA-1 to a request of SHA-256 is not accepted', () => {
    const { attempt } = signIn(serverOf(), alice)
    const key = IntegrityKey.longTerm('alice', REALM, 'wonder', 'SHA-256')
    expect(alice.accepts(Message.read(success().integrity(key).finish())!, attempt)).toBe(false)
  })

  it('a response to a request without credentials needs none', () => {
    expect(alice.accepts(Message.read(success().finish())!, nothing())).toBe(true)
  })

  it.each([[[Attribute.Realm]], [[Attribute.Nonce]], [[]]])('a 401 with only %j is given up', (types) => {
    const writer = new MessageWriter().start('error', Method.Allocate, ID).errorCode(401, '')
    for (const type of types) writer.text(type, 'x')
    expect(alice.react(Message.read(writer.finish())!, nothing())).toMatchObject({ kind: 'give-up', reason: /REALM or NONCE/ })
  })

  it("any other error is the caller's to read", () => {
    const error = Message.read(new MessageWriter().start('error', Method.Allocate, ID).errorCode(486, 'Allocation Quota Reached').finish())!
    expect(alice.react(error, nothing())).toEqual({ kind: 'give-up', reason: 'error 486 Allocation Quota Reached' })
  })
})

it('a verifier refuses a secret that is too short and a lifetime that is none', () => {
  expect(() => serverOf({ secret: new Uint8Array(15) })).toThrow(/^secret/)
  expect(() => serverOf({ nonceLifetime: 0 })).toThrow(/^nonceLifetime/)
})

it('a verifier forgets keys, not users: a password that changes counts at once, and many users do not fill it', () => {
  const passwords = new Map([['alice', 'wonder']])
  for (let i = 0; i < 1500; i++) passwords.set(`user${i}`, 'p')
  const server = serverOf({ password: (name) => passwords.get(name) })
  expect(signIn(server, alice).response.class).toBe('success')
  passwords.set('alice', 'changed')
  expect(exchange(server, alice).response.errorCode()?.code).toBe(401)
  for (const name of passwords.keys()) {
    if (name !== 'alice') expect(signIn(server, new LongTermCredential(name, 'p')).response.class).toBe('success')
  }
})
