// @ts-check
/**
 * What routers and whoever plays one say in UPnP. The first byte chooses what the rest is: SSDP answers, SSDP announcements, an HTTP response,
 * a description, a SOAP answer. The second one says where from, or in what pieces. Datagrams are separated by RECORD. Nothing throws but
 * ERR_MAPPING_ANSWER and a fault, and
 * - what is followed is the router or whoever answered, on the link, by a path that breaks no request line;
 * - a flood of announcements is told every ten seconds at most, and strangers' are not;
 * - an HTTP response is the same in whatever pieces it comes, within its limit, and of a body that a second reading finds;
 * - control URLs lead to the host that was asked, names of devices are one line.
 */
import { deepEqual, equal, ok } from 'node:assert/strict'
import { SallyportError } from '../../dist/errors.js'
import { Address, Prefix, Timers } from '../../dist/net/index.js'
import { Announcements } from '../../dist/pmp/upnp/announcements.js'
import { readDescription } from '../../dist/pmp/upnp/description.js'
import { HttpResponseReader } from '../../dist/pmp/upnp/http-response.js'
import { parseHttpUrl } from '../../dist/pmp/upnp/http-url.js'
import { readAnswer, UpnpFault } from '../../dist/pmp/upnp/soap.js'
import { SsdpSearch } from '../../dist/pmp/upnp/ssdp-search.js'
import { loadXml } from '../../dist/pmp/upnp/xml.js'
import { words } from '../scene/words.js'

export const KINDS = { answers: 0, announcements: 1, http: 2, description: 3, soap: 4 }
export const RECORD = 0x1e
export const ACTION = 'AddPortMapping'
/** Bytes of an HTTP body. */
const LIMIT = 1000
const QUIET = 10_000

const ROUTER = Address.of('192.168.1.1', 0)
const local = {
  name: 'eth0',
  address: Address.of('192.168.1.2', 0),
  prefixLength: 24,
  internal: false,
  temporary: false,
  deprecated: false,
}
const LINK = Prefix.parse('192.168.1.0/24')
const uplink = { local, router: ROUTER }
const SOURCES = ['192.168.1.1', '192.168.1.7', '203.0.113.9', '127.0.0.1'].map((ip) => Address.of(ip, 1900))
const network = /** @type {import('../../dist/net/index.js').Network} */ (/** @type {unknown} */ ({}))
const LOCATION = /** @type {NonNullable<ReturnType<typeof parseHttpUrl>>} */ (parseHttpUrl('http://192.168.1.1:5000/root/desc.xml'))

/** A clock that stands until it is moved. */
class StandingClock {
  time = 0
  /** @type {Set<{ at: number, callback: () => void }>} */
  waiting = new Set()

  now() {
    return this.time
  }

  wallTime() {
    return this.time
  }

  /** @param {number} at @param {() => void} callback */
  wake(at, callback) {
    const entry = { at, callback }
    this.waiting.add(entry)
    return { cancel: () => void this.waiting.delete(entry) }
  }

  /** @param {number} time */
  moveTo(time) {
    for (;;) {
      const [next] = [...this.waiting].filter(({ at }) => at <= time).sort((a, b) => a.at - b.at)
      if (next === undefined) break
      this.waiting.delete(next)
      this.time = Math.max(this.time, next.at)
      next.callback()
    }
    this.time = time
  }
}

class Upnp {
  name = 'upnp'
  longest = 4_000
  dictionary = words(
    ...[
      'HTTP/1.1 200 OK\r\n',
      'HTTP/1.1 100 \r\n\r\n',
      'NOTIFY * HTTP/1.1\r\n',
      'LOCATION: ',
      'ST: ',
      'NT: ',
      'NTS: ',
      'USN: uuid:',
      '\r\n\r\n',
      '\x1e',
    ],
    ...[
      'ssdp:alive',
      'ssdp:byebye',
      'ssdp:update',
      'BOOTID.UPNP.ORG: ',
      'urn:schemas-upnp-org:device:InternetGatewayDevice:1',
      'upnp:rootdevice',
    ],
    ...['http://', 'https://', '192.168.1.1', '192.168.1.7', '203.0.113.9', '[fe80::1%eth0]', ':5000/', ':0/', '//', '@', '%0d%0a', '/../'],
    ...['Content-Length: ', 'Transfer-Encoding: chunked\r\n', '0\r\n\r\n', 'ffffffff\r\n', '5;x=y\r\n', '1000', '1001'],
    ...[
      '<?xml version="1.0"?>',
      '<!DOCTYPE a [',
      '<!ENTITY b "',
      '<![CDATA[',
      ']]>',
      '<!--',
      '-->',
      '&amp;',
      '&b;',
      '&#x0;',
      '&#65;',
      '&',
      ' xmlns:a="b"',
    ],
    ...[
      '<root>',
      '<device>',
      '<serviceList><service>',
      '</service>',
      '<serviceType>',
      '<controlURL>',
      '<URLBase>',
      '<modelName>',
      '<a:b>',
      '/>',
    ],
    ...['urn:schemas-upnp-org:service:WANIPConnection:1', 'urn:dslforum-org:service:WANPPPConnection:1', '__proto__', 'constructor'],
    ...['<s:Envelope>', '<s:Body>', `<u:${ACTION}Response>`, '<UPnPError>', '<errorCode>', '718', '</s:Body>', '</s:Envelope>'],
  )
  /** @type {readonly import('../engine/mutations.js').Mutation[]} */
  mutations = []
  stale = true
  /** @type {Awaited<ReturnType<typeof loadXml>> | undefined} */
  #read

  async prepare() {
    this.#read = await loadXml()
    this.stale = false
  }

  async settle() {}

  /** @param {Uint8Array} input */
  run(input) {
    const [kind = 0, detail = 0] = input
    const rest = input.subarray(2)
    switch (kind % 5) {
      case KINDS.answers:
        return answers(rest, detail)
      case KINDS.announcements:
        return announcements(rest, detail)
      case KINDS.http:
        return http(rest, detail)
      case KINDS.description:
        return this.#describe(rest)
      default:
        return this.#answer(rest)
    }
  }

  /** @param {Uint8Array} data */
  #describe(data) {
    const root = this.#tree(data)
    if (root === undefined) return
    const { model, services, dropped } = readDescription(root, LOCATION)
    ok(model.length <= 64 && !/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u.test(model), 'the model is no line')
    ok(services.length <= 16 && dropped >= 0)
    for (const { type, control } of services) {
      ok(control.address.sameIp(ROUTER) && control.address.port > 0, 'a control URL leads elsewhere')
      ok(/^\/[!-~]*$/.test(control.path), 'a path breaks the request line')
      ok(/^urn:[a-z-]+:service:WAN\w+:\d$/.test(type), 'a type breaks the header')
    }
  }

  /** @param {Uint8Array} data */
  #answer(data) {
    const root = this.#tree(data)
    if (root === undefined) return
    try {
      const values = readAnswer(root, ACTION, 'here')
      for (const [name, text] of values) ok(typeof name === 'string' && typeof text === 'string')
    } catch (error) {
      if (error instanceof UpnpFault) ok(Number.isSafeInteger(error.code))
      else refused(error)
    }
  }

  /** @param {Uint8Array} data */
  #tree(data) {
    try {
      const root = /** @type {NonNullable<typeof this.#read>} */ (this.#read)(data)
      ok(!/<!(?:DOCTYPE|ENTITY)/.test(withoutSections(new TextDecoder().decode(data))), 'a document type was read')
      let elements = 0
      const walk = (/** @type {typeof root} */ element, /** @type {number} */ depth) => {
        ok(++elements <= 4096 && depth <= 32 && element.text.length <= 4096)
        for (const child of element.children) walk(child, depth + 1)
      }
      walk(root, 1)
      equal(/** @type {any} */ ({}).polluted, undefined)
      return root
    } catch (error) {
      refused(error)
      return undefined
    }
  }
}

/** @param {string} text what stands in comments, sections and instructions is none of the document's */
function withoutSections(text) {
  return text.replace(/<!\[CDATA\[[\s\S]*?\]\]>|<!--[\s\S]*?-->|<\?[\s\S]*?\?>|"[^"]*"|'[^']*'/g, '')
}

/** @param {unknown} error */
function refused(error) {
  if (!(error instanceof SallyportError)) throw error
  equal(error.code, 'ERR_MAPPING_ANSWER')
  ok(error.message.length < 400 && !error.message.includes('\n'), 'what a stranger wrote fills the message')
}

/** @param {Uint8Array} data */
function datagramsOf(data) {
  const datagrams = []
  for (let at = 0; at <= data.length && datagrams.length < 40; ) {
    const found = data.indexOf(RECORD, at)
    const end = found < 0 ? data.length : found
    datagrams.push(data.slice(at, end))
    at = end + 1
  }
  return datagrams
}

/** @param {Uint8Array} data @param {number} detail */
function answers(data, detail) {
  let dropped = 0
  /** @type {import('../../dist/pmp/upnp/ssdp-search.js').Responder[]} */
  const found = []
  const timers = new Timers(new StandingClock())
  const search = new SsdpSearch({ network, timers, uplink, found: (one) => found.push(one), dropped: () => dropped++ })
  for (const [i, datagram] of datagramsOf(data).entries()) {
    const from = /** @type {Address} */ (SOURCES[(detail >> (2 * (i & 3))) & 3])
    const before = found.length
    const counted = dropped
    search.datagram(datagram, from)
    ok(found.length - before + (dropped - counted) <= 1, 'one datagram counted twice')
    for (const { location, isRouter } of found.slice(before)) {
      const { address, path } = location
      ok(LINK.contains(address) && address.port > 0, 'it leads out of the link')
      ok(isRouter ? address.sameIp(ROUTER) : address.sameIp(from), 'it leads elsewhere')
      ok(/^\/[!-~]*$/.test(path), 'a path breaks the request line')
    }
  }
  ok(found.length <= 16)
  equal(new Set(found.map(({ location: { address, path } }) => address.key + path)).size, found.length)
  equal(timers.size, 0)
}

/** @param {Uint8Array} data @param {number} detail */
function announcements(data, detail) {
  const clock = new StandingClock()
  const timers = new Timers(clock)
  /** @type {number[]} */
  const told = []
  const listener = new Announcements({ network, timers, uplink, restarted: () => told.push(clock.time) })
  let heard = false
  for (const [i, datagram] of datagramsOf(data).entries()) {
    const from = /** @type {Address} */ (SOURCES[(detail >> (2 * (i & 3))) & 3])
    heard ||= from.sameIp(ROUTER)
    listener.datagram(datagram, from)
    ok(timers.size <= 2, 'timers add up')
    clock.moveTo(clock.time + 100)
  }
  clock.moveTo(clock.time + 5 * QUIET)
  equal(timers.size, 0)
  ok(heard || told.length === 0, 'a stranger was believed')
  for (const [i, time] of told.entries()) ok(i === 0 || time - /** @type {number} */ (told[i - 1]) >= QUIET)
  listener.close()
}

/** @param {Uint8Array} data @param {number} detail */
function http(data, detail) {
  const whole = readHttp(data, Math.max(1, data.length))
  const pieces = readHttp(data, 1 + detail)
  deepEqual(pieces, whole)
  if (whole.body === undefined) return
  ok(whole.body.length <= LIMIT)
  // A body is in the bytes as it is, unless it came in chunks.
  const text = Buffer.from(data).toString('latin1')
  if (!/transfer-encoding/i.test(text)) ok(text.includes(Buffer.from(whole.body).toString('latin1')), 'a body from nowhere')
}

/** @param {Uint8Array} data @param {number} step */
function readHttp(data, step) {
  const reader = new HttpResponseReader(LIMIT)
  try {
    for (let at = 0; at < data.length; at += step) {
      if (reader.push(data.slice(at, at + step))) break
    }
    if (reader.response === undefined) reader.end()
  } catch (error) {
    refused(error)
    return { refused: true }
  }
  const { response } = reader
  ok(response !== undefined && response.status >= 200 && response.status < 600)
  return { status: response.status, headers: [...response.headers], body: response.body.slice() }
}

/** @returns {import('../engine/fuzzer.js').Target} */
export function upnp() {
  return new Upnp()
}
