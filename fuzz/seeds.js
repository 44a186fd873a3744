// @ts-check
/**
 * Writes the inputs that the corpus begins with, those with a name: `node fuzz/seeds.js`. RFC vectors and real messages, each in the form
 * that its target takes; what the fuzzer found beyond them is added by `--keep`.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { Address } from '../dist/net/index.js'
import { Attribute, MessageWriter, Method } from '../dist/stun/index.js'
import { join } from './scene/attributes.js'
import { Meeting } from './scene/meeting.js'
import { inputOf } from './scene/records.js'
import { INTEGRITY, LENGTH, PRINT } from './scene/seal.js'
import { NAMED as NAMED_REQUEST, ANSWER as TO_REQUEST } from './scene/turn.js'
import { ANSWER, MOMENTS, NAMED } from './targets/demultiplexer.js'
import { ANNOUNCED, FITTING, honest, IPV6, LATER, MUCH_LATER, ROUTER } from './targets/pxp.js'
import { FORGED, MALLORY, MALLORY_STREAM, NEWCOMER, PEER as RELAYED_PEER, STRANGER } from './targets/relay-server.js'
import { MOMENTS as SIGNAL_MOMENTS, STRUCTURED } from './targets/signals.js'
import { KEYS } from './targets/stun.js'
import { ACTION, KINDS, RECORD } from './targets/upnp.js'

/** @param {string} target @param {string} name @param {Uint8Array | string} data */
function write(target, name, data) {
  const folder = new URL(`./corpus/${target}/`, import.meta.url)
  mkdirSync(folder, { recursive: true })
  writeFileSync(new URL(name, folder), data)
}

// ── stun: a byte of flags, then the message ──

/** @type {readonly { name: string, hex: string, longTerm?: object }[]} */
const vectors = JSON.parse(readFileSync(new URL('../test/vectors/stun.json', import.meta.url), 'utf8'))
for (const { name, hex, longTerm } of vectors) {
  const file = name.toLowerCase().replace(/[^a-z0-9]+/g, '-')
  write('stun', file, Buffer.concat([Buffer.of(longTerm === undefined ? 0 : 16), Buffer.from(hex, 'hex')]))
}

const id = Buffer.from('b7e7a701bc34d686fa87dfae', 'hex')
const writer = new MessageWriter()
const { key } = /** @type {(typeof KEYS)[0]} */ (KEYS[0])

const error = writer.start('error', Method.Binding, id).errorCode(420, 'Unknown Attribute').unknownAttributes([0x7777, 0x0002])
write('stun', 'error-420', Buffer.concat([Buffer.of(0), error.integrity(key).fingerprint().finish()]))

const both = writer
  .start('request', Method.Allocate, id)
  .text(Attribute.Username, 'マトリックス')
  .text(Attribute.Nonce, 'obMatJos2gAAAnonce')
both
  .bytes(Attribute.PasswordAlgorithms, Uint8Array.of(0, 2, 0, 0, 0, 1, 0, 0))
  .integrity(key)
  .integritySha256(key, 16)
write('stun', 'both-integrities', Buffer.concat([Buffer.of(0), both.fingerprint().finish()]))

// Put in order as it is run, so that whatever is changed is authentic all the same.
const bare = writer.start('request', Method.Binding, id).text(Attribute.Username, 'evtj:h6vY').uint32(Attribute.Priority, 1)
bare.uint64(Attribute.IceControlling, 1n).flag(Attribute.UseCandidate)
write('stun', 'sealed-as-it-runs', Buffer.concat([Buffer.of(15), bare.finish()]))

// ── demultiplexer: what reaches a in a meeting, at each moment, as it is and to be sealed as it runs ──

const meeting = new Meeting()
meeting.lab.trace.start()
await meeting.open()
await meeting.pass(250)
const { server, said } = meeting
const received = meeting.lab.trace.records.filter((record) => record.at === 'a' && record.event === 'receive')
const kinds = new Map()
for (const { data, from } of received) {
  const kind = `${from.key === server?.key ? 'server' : 'peer'}-${['request', 'indication', 'success', 'error'][(data[0] & 1) * 2 + ((data[1] >> 4) & 1)]}`
  if (!kinds.has(kind)) kinds.set(kind, { data, source: from.key === server?.key ? 1 : 0 })
}
for (const [kind, { data, source }] of kinds) {
  for (const moment of MOMENTS.keys()) {
    const isAnswer = kind.endsWith('success')
    const asItIs = { source, how: 0, data }
    // Behind the attributes come 24 bytes of integrity and 8 of fingerprint; the server's answers have no integrity.
    const bare = data.slice(0, data.length - (source === 1 ? 8 : 32))
    const sealed = {
      source: source | (isAnswer ? 1 << 4 : 0),
      how: LENGTH | PRINT | (source === 1 ? 0 : INTEGRITY) | (isAnswer ? ANSWER : NAMED),
      data: bare,
    }
    write('demultiplexer', `${kind}-${moment}`, inputOf(moment, [asItIs]))
    write('demultiplexer', `${kind}-sealed-${moment}`, inputOf(moment, [sealed]))
    write('demultiplexer', `${kind}-of-a-stranger-${moment}`, inputOf(moment, [{ ...sealed, source: sealed.source | 2 }]))
  }
}
const [ours, theirs, others] = [said.a, said.b, said.c].map((signals) => signals.at(-1)?.ufrag ?? '')
const checkOf = (/** @type {string} */ username, /** @type {(w: MessageWriter) => unknown} */ more) => {
  const check = writer.start('request', Method.Binding, id).text(Attribute.Username, username).uint32(Attribute.Priority, 1_862_270_975)
  more(check)
  return { source: 0, how: LENGTH | PRINT | INTEGRITY | NAMED, data: check.finish().slice() }
}
/** @type {Record<string, ReturnType<typeof checkOf>>} */
const checks = {
  nomination: checkOf(`${ours}:${theirs}`, (w) => w.uint64(Attribute.IceControlling, 2n ** 64n - 1n).flag(Attribute.UseCandidate)),
  'role-conflict': checkOf(`${ours}:${theirs}`, (w) => w.uint64(Attribute.IceControlled, 0n)),
  renomination: checkOf(`${ours}:${theirs}`, (w) => w.uint64(Attribute.IceControlling, 1n).uint32(Attribute.Nomination, 7)),
  'unknown-attribute': checkOf(`${ours}:${theirs}`, (w) => w.uint64(Attribute.IceControlling, 1n).uint32(0x7777, 1)),
  'other-session': { ...checkOf(`${others}:${theirs}`, (w) => w.uint64(Attribute.IceControlling, 1n)), source: 2 << 4 },
}
for (const [name, check] of Object.entries(checks))
  for (const moment of [1, 2]) write('demultiplexer', `${name}-${moment}`, inputOf(moment, [check]))
const conflict = writer.start('error', Method.Binding, id).errorCode(487, 'Role Conflict').finish().slice()
write('demultiplexer', 'role-conflict-answer-1', inputOf(1, [{ source: 1 << 4, how: LENGTH | PRINT | INTEGRITY | ANSWER, data: conflict }]))
write(
  'demultiplexer',
  'data-2',
  inputOf(2, [
    { source: 0, how: 0, data: Buffer.from('hello') },
    { source: 2, how: 0, data: Buffer.from('hello') },
  ]),
)
const keepAlive = writer.start('indication', Method.Binding, id).fingerprint().finish().slice()
write(
  'demultiplexer',
  'keep-alive-2',
  inputOf(
    2,
    [0, 2].map((source) => ({ source, how: 0, data: keepAlive })),
  ),
)
// ── signals: what b says in a meeting, as text and to be changed value by value, at each moment ──

for (const moment of SIGNAL_MOMENTS.keys()) {
  const real = said.b.map((signal) => JSON.stringify(signal))
  for (const [index, text] of [real[0] ?? '', real.at(-1) ?? ''].entries()) {
    write('signals', `real-${index}-${moment}`, Buffer.concat([Buffer.of(moment), Buffer.from(text)]))
  }
  write('signals', `all-${moment}`, Buffer.concat([Buffer.of(moment), Buffer.from(real.slice(0, 4).join('\n'))]))
  write('signals', `structured-${moment}`, Buffer.of(STRUCTURED | moment, 3, 7, 1, 7, 0, 1, 6, 11, 20))
}
const foreign = {
  v: 1,
  ufrag: 'EEtu',
  pwd: 'VOkJxbRl1RmTxUk/WvJxBtaB',
  controlling: false,
  candidates: ['candidate:1 1 udp 2130706431 192.0.2.1 5000 typ host'],
}
write('signals', 'another-agent', Buffer.concat([Buffer.of(0), Buffer.from(JSON.stringify(foreign))]))
write('signals', 'own-come-back', Buffer.concat([Buffer.of(2), Buffer.from(JSON.stringify(said.a.at(-1)))]))
write('signals', 'farewell', Buffer.concat([Buffer.of(2), Buffer.from(JSON.stringify({ ...said.b.at(-1), seq: 99, bye: true }))]))
await meeting.close()

// ── relay-server: every request, indication and ChannelData, from everybody who may say it ──

const hello = Uint8Array.of(104, 101, 108, 108, 111)
const transport = 17 << 24
/** @type {Record<string, Uint8Array>} */
const requests = {
  allocate: writer.start('request', Method.Allocate, id).uint32(Attribute.RequestedTransport, transport).finish().slice(),
  'allocate-both': writer
    .start('request', Method.Allocate, id)
    .uint32(Attribute.RequestedTransport, transport)
    .uint32(Attribute.AdditionalAddressFamily, 0x0200_0000)
    .uint32(Attribute.Lifetime, 3600)
    .finish()
    .slice(),
  'allocate-pair': writer
    .start('request', Method.Allocate, id)
    .uint32(Attribute.RequestedTransport, transport)
    .bytes(Attribute.EvenPort, Uint8Array.of(128))
    .finish()
    .slice(),
  'allocate-reserved': writer
    .start('request', Method.Allocate, id)
    .uint32(Attribute.RequestedTransport, transport)
    .bytes(Attribute.ReservationToken, new Uint8Array(8))
    .finish()
    .slice(),
  refresh: writer.start('request', Method.Refresh, id).uint32(Attribute.Lifetime, 600).finish().slice(),
  'refresh-0': writer.start('request', Method.Refresh, id).uint32(Attribute.Lifetime, 0).finish().slice(),
  'refresh-family': writer
    .start('request', Method.Refresh, id)
    .uint32(Attribute.Lifetime, 0)
    .uint32(Attribute.RequestedAddressFamily, 0x0200_0000)
    .finish()
    .slice(),
  permission: writer.start('request', Method.CreatePermission, id).address(Attribute.XorPeerAddress, RELAYED_PEER).finish().slice(),
  'permission-denied': writer
    .start('request', Method.CreatePermission, id)
    .address(Attribute.XorPeerAddress, RELAYED_PEER)
    .address(Attribute.XorPeerAddress, Address.of('64:ff9b::7f00:1', 80))
    .finish()
    .slice(),
  channel: writer
    .start('request', Method.ChannelBind, id)
    .uint32(Attribute.ChannelNumber, 0x4001_0000)
    .address(Attribute.XorPeerAddress, RELAYED_PEER.withPort(5_001))
    .finish()
    .slice(),
  send: writer
    .start('indication', Method.Send, id)
    .address(Attribute.XorPeerAddress, RELAYED_PEER)
    .bytes(Attribute.Data, hello)
    .finish()
    .slice(),
  binding: writer.start('request', Method.Binding, id).finish().slice(),
  response: writer.start('success', Method.Refresh, id).uint32(Attribute.Lifetime, 600).finish().slice(),
}
const inChannel = join(Uint8Array.of(0x40, 0, 0, 5), hello)
const SEALED = LENGTH | INTEGRITY | NAMED_REQUEST
for (const [name, data] of Object.entries(requests)) {
  const how = name === 'send' || name === 'binding' || name === 'response' ? 0 : SEALED
  write('relay-server', name, inputOf(0, [{ source: MALLORY, how, data }]))
  if (!['allocate', 'refresh-0', 'send', 'binding'].includes(name)) continue
  write('relay-server', `${name}-over-tcp`, inputOf(0, [{ source: MALLORY_STREAM | 0x18, how, data }]))
  write('relay-server', `${name}-of-a-stranger`, inputOf(0, [{ source: STRANGER, how: 0, data }]))
  write('relay-server', `${name}-of-a-newcomer`, inputOf(0, [{ source: NEWCOMER, how, data }]))
  write('relay-server', `${name}-forged`, inputOf(0, [{ source: FORGED, how, data }]))
}
write('relay-server', 'channel-data', inputOf(0, [{ source: MALLORY, how: 0, data: inChannel }]))
write(
  'relay-server',
  'channel-data-over-tcp',
  inputOf(0, [{ source: MALLORY_STREAM | 8, how: 0, data: join(inChannel, new Uint8Array(3)) }]),
)
write(
  'relay-server',
  'from-peers',
  inputOf(
    0,
    [4, 5, 12, 13].map((source) => ({ source, how: 0, data: hello })),
  ),
)
write(
  'relay-server',
  'in-a-row',
  inputOf(
    0,
    ['permission', 'send', 'channel', 'refresh-0', 'allocate'].map((name) => ({
      source: MALLORY,
      how: name === 'send' ? 0 : SEALED,
      data: requests[name] ?? hello,
    })),
  ),
)

// ── relay-client: every answer and indication, at each moment, over UDP and TCP ──

const relayed = Address.of('9.9.9.9', 50_000)
/** @type {Record<string, [data: Uint8Array, how: number]>} */
const answers = {
  challenge: [
    writer
      .start('error', Method.Allocate, id)
      .errorCode(401, '')
      .text(Attribute.Realm, 'fuzz.example')
      .text(Attribute.Nonce, 'nonce')
      .finish()
      .slice(),
    LENGTH | TO_REQUEST,
  ],
  grant: [
    writer
      .start('success', Method.Allocate, id)
      .address(Attribute.XorRelayedAddress, relayed)
      .address(Attribute.XorMappedAddress, Address.of('1.1.1.1', 50_000))
      .uint32(Attribute.Lifetime, 600)
      .finish()
      .slice(),
    LENGTH | INTEGRITY | TO_REQUEST,
  ],
  permitted: [writer.start('success', Method.CreatePermission, id).finish().slice(), LENGTH | INTEGRITY | TO_REQUEST],
  bound: [writer.start('success', Method.ChannelBind, id).finish().slice(), LENGTH | INTEGRITY | TO_REQUEST],
  stale: [
    writer
      .start('error', Method.CreatePermission, id)
      .errorCode(438, '')
      .text(Attribute.Realm, 'fuzz.example')
      .text(Attribute.Nonce, 'newer')
      .finish()
      .slice(),
    LENGTH | TO_REQUEST,
  ],
  forbidden: [writer.start('error', Method.CreatePermission, id).errorCode(403, '').finish().slice(), LENGTH | INTEGRITY | TO_REQUEST],
  mismatch: [writer.start('error', Method.CreatePermission, id).errorCode(437, '').finish().slice(), LENGTH | INTEGRITY | TO_REQUEST],
  quota: [writer.start('error', Method.Allocate, id).errorCode(486, '').finish().slice(), LENGTH | INTEGRITY | TO_REQUEST],
  alternate: [
    writer
      .start('error', Method.Allocate, id)
      .errorCode(300, '')
      .address(Attribute.AlternateServer, Address.of('9.9.9.10', 3478))
      .finish()
      .slice(),
    LENGTH | INTEGRITY | TO_REQUEST,
  ],
  data: [
    writer
      .start('indication', Method.Data, id)
      .address(Attribute.XorPeerAddress, RELAYED_PEER)
      .bytes(Attribute.Data, hello)
      .finish()
      .slice(),
    0,
  ],
  'channel-data': [join(inChannel, new Uint8Array(3)), 0],
}
for (const [name, [data, how]] of Object.entries(answers)) {
  for (const moment of [0, 1, 2, 3, 5, 7]) write('relay-client', `${name}-${moment}`, inputOf(moment, [{ source: 0, how, data }]))
}
write('relay-client', 'data-of-a-stranger', inputOf(3, [{ source: 2, how: 0, data: inChannel }]))

// ── pxp: what routers say to requests for mappings, at each moment ──

const asked = Buffer.alloc(60)
asked.set([2, 1, 0, 0, 0, 0, 0, 60])
asked.set([17, 0, 0, 0, 0x13, 0x88, 0x13, 0x88], 36)
const inPcp = (/** @type {number} */ code, /** @type {number} */ lifetime, /** @type {number[]} */ ...options) =>
  join(Uint8Array.of(2, 129, 0, code, 0, 0, 0, lifetime), honest(asked).subarray(8), Uint8Array.from(options))
const inNatPmp = (/** @type {number} */ opcode, /** @type {number[]} */ ...rest) =>
  Uint8Array.of(0, 128 | opcode, 0, 0, 0, 0, 3, 232, ...rest)
const filter = [3, 0, 0, 20, 0, 120, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 198, 51, 100, 0]
const routerSays = {
  mapped: inPcp(0, 60),
  deleted: inPcp(0, 0),
  refused: inPcp(2, 30),
  'refused-in-short': inPcp(8, 30).subarray(0, 24),
  filtered: inPcp(0, 60, ...filter),
  'for-a-third-party': inPcp(0, 60, 1, 0, 0, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 192, 168, 1, 3),
  announce: join(Uint8Array.of(2, 128, 0, 0, 0, 0, 0, 0), honest(asked).subarray(8, 24)),
  'version-1': Uint8Array.of(1, 129, 0, 1, 0, 0, 0, 60),
  'version-0': inNatPmp(1).map((byte, i) => (i === 3 ? 1 : byte)),
  miniupnpd: join(Uint8Array.of(0, 128, 0, 3, 0, 0, 0, 0), honest(asked).subarray(8, 24)),
  'nat-pmp-address': inNatPmp(0, 203, 0, 113, 9),
  'nat-pmp-mapped': inNatPmp(1, 0x13, 0x88, 0x13, 0x89, 0, 0, 0, 60),
  'nat-pmp-deleted': inNatPmp(1, 0x13, 0x88, 0, 0, 0, 0, 0, 0),
  'nat-pmp-down': inNatPmp(0).map((byte, i) => (i === 3 ? 3 : byte)),
}
for (const [name, data] of Object.entries(routerSays)) {
  for (const moment of [1, 2, 3, 1 | IPV6, 2 | IPV6])
    write('pxp', `${name}-${moment}`, inputOf(moment, [{ source: ROUTER, how: FITTING, data }]))
}
write('pxp', 'announced', inputOf(2, [{ source: ANNOUNCED, how: 0, data: routerSays.announce }]))
write('pxp', 'announced-nat-pmp', inputOf(2, [{ source: ANNOUNCED, how: MUCH_LATER, data: routerSays['nat-pmp-address'] }]))
write(
  'pxp',
  'forged',
  inputOf(
    1,
    [1, 2].map((source) => ({ source, how: FITTING, data: routerSays.mapped })),
  ),
)
write('pxp', 'restarted', inputOf(2, [{ source: ROUTER, how: FITTING | MUCH_LATER, data: routerSays.mapped }]))
write(
  'pxp',
  'late',
  inputOf(
    1,
    [0, 4].map((source) => ({ source, how: FITTING | LATER, data: routerSays.mapped })),
  ),
)
write('relay-client', 'data-of-a-stranger', inputOf(3, [{ source: 2, how: 0, data: inChannel }]))

// ── upnp: what it is, where from or in what pieces, then the text ──

/** @param {string} name @param {number} kind @param {number} detail @param {...string} texts */
function writeUpnp(name, kind, detail, ...texts) {
  write('upnp', name, Buffer.concat([Buffer.of(kind, detail), Buffer.from(texts.join(String.fromCharCode(RECORD)))]))
}

const gatewayType = 'urn:schemas-upnp-org:device:InternetGatewayDevice:1'
const usn = `uuid:11111111-2222-3333-4444-555555555555::${gatewayType}`
const answer = (/** @type {string} */ location) =>
  `HTTP/1.1 200 OK\r\nST: ${gatewayType}\r\nUSN: ${usn}\r\nLOCATION: ${location}\r\nBOOTID.UPNP.ORG: 1\r\n\r\n`
const notice = (/** @type {string} */ word, /** @type {number} */ boot) =>
  `NOTIFY * HTTP/1.1\r\nNT: ${gatewayType}\r\nNTS: ssdp:${word}\r\nUSN: ${usn}\r\nLOCATION: http://192.168.1.1:5000/d.xml\r\nBOOTID.UPNP.ORG: ${boot}\r\n\r\n`
const service = (/** @type {string} */ type, /** @type {string} */ control) =>
  `<service><serviceType>urn:${type}</serviceType><controlURL>${control}</controlURL></service>`
const soap = (/** @type {string} */ body) => `<?xml version="1.0"?><s:Envelope xmlns:s="x"><s:Body>${body}</s:Body></s:Envelope>`

writeUpnp('answers-router', KINDS.answers, 0, answer('http://192.168.1.1:5000/d.xml'), answer('http://192.168.1.1:5000/e.xml'))
writeUpnp(
  'answers-others',
  KINDS.answers,
  0b11100100,
  ...['192.168.1.1', '192.168.1.7', '203.0.113.9', '127.0.0.1'].map((ip) => answer(`http://${ip}:80/`)),
)
writeUpnp(
  'answers-elsewhere',
  KINDS.answers,
  0,
  ...['https://192.168.1.1/', 'http://192.168.1.1@203.0.113.9/', 'http://router.lan/', 'http://192.168.1.1:0/'].map(answer),
)
writeUpnp('announcements-boots', KINDS.announcements, 0, notice('alive', 1), notice('alive', 2), notice('alive', 3))
writeUpnp('announcements-goodbye', KINDS.announcements, 0, notice('alive', 1), notice('byebye', 1), notice('update', 1), notice('alive', 1))
writeUpnp('announcements-strangers', KINDS.announcements, 0b11101101, notice('alive', 1), notice('alive', 2), notice('byebye', 3))
writeUpnp('http-length', KINDS.http, 6, 'HTTP/1.1 200 OK\r\nServer: x\r\nContent-Length: 5\r\n\r\nhello')
writeUpnp(
  'http-chunked',
  KINDS.http,
  2,
  'HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nhel\r\n2\r\nlo\r\n0\r\nA: b\r\n\r\n',
)
writeUpnp('http-until-end', KINDS.http, 0, 'HTTP/1.0 500 Error\n\nhello')
writeUpnp('http-redirect', KINDS.http, 30, 'HTTP/1.1 302 Found\r\nLocation: http://203.0.113.9/\r\nContent-Length: 0\r\n\r\n')
writeUpnp(
  'description',
  KINDS.description,
  0,
  `<?xml version="1.0"?><root><URLBase>http://192.168.1.1:81/b/</URLBase><device><manufacturer>A &amp; B</manufacturer><modelName>C</modelName><serviceList>${[
    service('schemas-upnp-org:service:WANIPConnection:2', '/ctl'),
    service('schemas-upnp-org:service:WANIPv6FirewallControl:1', 'http://192.168.1.1:82/fw'),
    service('dslforum-org:service:WANPPPConnection:1', 'ctl?x=y'),
    service('schemas-upnp-org:service:WANIPConnection:1', 'http://203.0.113.9/'),
  ].join('')}</serviceList></device></root>`,
)
writeUpnp('description-bomb', KINDS.description, 0, '<!DOCTYPE a [<!ENTITY b "bb"><!ENTITY c "&b;&b;">]><root><device>&c;</device></root>')
writeUpnp(
  'soap-response',
  KINDS.soap,
  0,
  soap(`<u:${ACTION}Response xmlns:u="y"><NewReservedPort>5001</NewReservedPort><a/></u:${ACTION}Response>`),
)
writeUpnp(
  'soap-fault',
  KINDS.soap,
  0,
  soap('<s:Fault><faultcode>s:Client</faultcode><detail><UPnPError><errorCode>718</errorCode></UPnPError></detail></s:Fault>'),
)
writeUpnp(
  'soap-proto',
  KINDS.soap,
  0,
  soap(`<${ACTION}Response __proto__="1"><__proto__><polluted>1</polluted></__proto__><![CDATA[&x;]]>&#65;</${ACTION}Response>`),
)
