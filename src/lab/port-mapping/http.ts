/** HTTP/1.1 as small routers serve it: one request for each connection, bodies by Content-Length, answers spoilt when asked for. */
import type { Address, Clock, Stream, StreamListener } from '../../net/index.ts'
import type { LabHost } from '../host.ts'
import type { AnswerFlaw } from './options.ts'

/** Bytes of a request from which on the connection is closed. */
const LONGEST_REQUEST = 65_536
const OVERSIZED = 2_000_000
/** Milliseconds between two bytes. */
const DRIP = 500

export interface HttpRequest {
  readonly method: string
  readonly path: string
  /** As they were sent: small routers know a header by one spelling. */
  readonly headers: readonly (readonly [name: string, value: string])[]
  readonly body: string
  readonly from: Address
}

export interface HttpResponse {
  readonly status: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body: string
  readonly flaw?: AnswerFlaw | undefined
  /** Milliseconds to wait before it. */
  readonly delay?: number
}

/** Answers a request; undefined for silence, with which the connection stays. */
export type HttpHandler = (request: HttpRequest) => HttpResponse | undefined

export class HttpServer {
  readonly #clock: Clock
  readonly #handler: HttpHandler
  readonly #listeners: StreamListener[] = []
  readonly #streams = new Set<Stream>()

  constructor(clock: Clock, handler: HttpHandler) {
    this.#clock = clock
    this.#handler = handler
  }

  listen(host: LabHost, port: number): void {
    for (const family of [4, 6] as const) this.#listeners.push(host.listenNow({ family, port }, (stream) => this.#accept(stream)))
  }

  /** Ends all connections. */
  cut(): void {
    for (const stream of this.#streams) stream.destroy()
    this.#streams.clear()
  }

  #accept(stream: Stream): void {
    this.#streams.add(stream)
    let bytes = new Uint8Array(0)
    let answered = false
    const sender = new Sender(stream, this.#clock)
    stream.handle({
      data: (chunk) => {
        if (answered) return
        bytes = concat([bytes, chunk])
        const request = bytes.length > LONGEST_REQUEST ? '413 Payload Too Large' : readRequest(bytes, stream.remote)
        if (request === undefined) return
        answered = true
        const response = typeof request === 'string' ? { status: request, body: '' } : this.#handler(request)
        if (response === undefined) return
        const { delay = 0 } = response
        if (delay > 0) this.#clock.wake(this.#clock.now() + delay, () => sender.send(response))
        else sender.send(response)
      },
      drained: () => sender.drained(),
      closed: () => {
        sender.close()
        this.#streams.delete(stream)
      },
    })
  }
}

/** A request, a status that says what is wrong with it, or undefined as long as it is not whole. */
function readRequest(bytes: Uint8Array, from: Address): HttpRequest | string | undefined {
  const text = new TextDecoder('latin1').decode(bytes)
  const end = text.indexOf('\r\n\r\n')
  if (end < 0) return undefined
  const [first = '', ...lines] = text.slice(0, end).split('\r\n')
  const [method = '', path = '', version] = first.split(' ')
  if (version?.startsWith('HTTP/1.') !== true) return '400 Bad Request'
  const headers = lines.map((line) => {
    const colon = line.indexOf(':')
    return [line.slice(0, colon), line.slice(colon + 1).trim()] as const
  })
  const header = (wanted: string): string | undefined => headers.find(([name]) => name.toLowerCase() === wanted)?.[1]
  if (header('transfer-encoding') !== undefined) return '411 Length Required'
  const length = Number(header('content-length') ?? 0)
  if (!Number.isSafeInteger(length) || length < 0) return '400 Bad Request'
  if (bytes.length < end + 4 + length) return undefined
  const body = new TextDecoder().decode(bytes.subarray(end + 4, end + 4 + length))
  return { method, path, headers, body, from }
}

/** Writes one answer, as it should be or not. */
class Sender {
  readonly #stream: Stream
  readonly #clock: Clock
  #endless = false
  #closed = false

  constructor(stream: Stream, clock: Clock) {
    this.#stream = stream
    this.#clock = clock
  }

  close(): void {
    this.#closed = true
  }

  drained(): void {
    if (this.#endless && !this.#closed) this.#flood()
  }

  send(response: HttpResponse): void {
    const { flaw } = response
    const body = encode(spoiltBody(response))
    const head = (framing: Readonly<Record<string, string>>): Uint8Array => {
      const headers = { 'Content-Type': 'text/xml; charset="utf-8"', Connection: 'close', ...response.headers, ...framing }
      const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`)
      return encode(`HTTP/1.1 ${response.status}\r\n${lines.join('')}\r\n`)
    }
    const whole = concat([head({ 'Content-Length': String(body.length) }), body])
    if (flaw === 'truncated') this.#finish(whole.subarray(0, whole.length - (body.length >> 1)))
    else if (flaw === 'garbage') this.#finish(whole.map((byte, index) => (byte * 31 + index * 17) & 0xff))
    else if (flaw === 'no-length') this.#finish(concat([head({}), body]))
    else if (flaw === 'chunked') this.#finish(concat([head({ 'Transfer-Encoding': 'chunked' }), ...chunks(body)]))
    else if (flaw === 'drip') this.#drip(whole, 0)
    else if (flaw === 'endless') {
      this.#stream.write(concat([head({ 'Transfer-Encoding': 'chunked' }), ...chunks(body).slice(0, -1)]))
      this.#endless = true
      this.#flood()
    } else this.#finish(whole)
  }

  #finish(bytes: Uint8Array): void {
    this.#stream.write(bytes)
    this.#stream.end()
  }

  #flood(): void {
    const chunk = encode(`400\r\n${' '.repeat(1024)}\r\n`)
    // A stream that is over takes everything: more than fills a queue is not written at once.
    for (let i = 0; i < 200 && !this.#closed; i++) if (!this.#stream.write(chunk)) return
  }

  #drip(bytes: Uint8Array, at: number): void {
    if (this.#closed) return
    this.#stream.write(bytes.subarray(at, at + 1))
    if (at + 1 >= bytes.length) this.#stream.end()
    else this.#clock.wake(this.#clock.now() + DRIP, () => this.#drip(bytes, at + 1))
  }
}

function spoiltBody({ body, flaw }: HttpResponse): string {
  if (flaw === 'broken-xml') return body.slice(0, body.lastIndexOf('</', body.lastIndexOf('</') - 1))
  if (flaw === 'oversized') return `${body}<!--${'x'.repeat(OVERSIZED)}-->`
  if (flaw !== 'entities') return body
  const names = 'abcdefghij'
  const entities = [...names].map((name, index) => {
    const value = index === 0 ? 'lol' : `&${names[index - 1]};`.repeat(10)
    return `<!ENTITY ${name} "${value}">`
  })
  const [declaration = '', ...rest] = body.split('?>')
  return `${declaration}?><!DOCTYPE root [${entities.join('')}]>${rest.join('?>').replace(/>([^<\s][^<]*)</, '>&j;<')}`
}

function chunks(body: Uint8Array): Uint8Array[] {
  const result: Uint8Array[] = []
  for (let at = 0; at < body.length; at += 100) {
    const piece = body.subarray(at, at + 100)
    result.push(encode(`${piece.length.toString(16)}\r\n`), piece, encode('\r\n'))
  }
  return [...result, encode('0\r\n\r\n')]
}

function encode(text: string): Uint8Array {
  return new TextEncoder().encode(text)
}

function concat(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(parts.reduce((length, part) => length + part.length, 0))
  let at = 0
  for (const part of parts) {
    whole.set(part, at)
    at += part.length
  }
  return whole
}
