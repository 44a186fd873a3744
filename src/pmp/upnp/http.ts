/**
 * An HTTP/1.1 client for routers: one request per connection, from the address that a mapping is for. Header names go out as they are
 * spelled, since some routers know no other spelling of SOAPAction. No redirects, and an end to everything.
 */
import { SallyportError } from '../../errors.ts'
import type { Address, Network, Stream, StreamHandler, Timer, Timers } from '../../net/index.ts'
import { type HttpResponse, HttpResponseReader } from './http-response.ts'
import { formatHttpUrl, type HttpUrl, hostOf } from './http-url.ts'

/** Milliseconds from the first SYN to the last byte. */
const LONGEST_EXCHANGE = 3000

export interface HttpRequest {
  readonly method: 'GET' | 'POST'
  readonly url: HttpUrl
  /** Names and values, beside Host, Connection and Content-Length. */
  readonly headers?: readonly (readonly [name: string, value: string])[]
  readonly body?: string
  /** Bytes of the response's body. */
  readonly limit: number
}

export interface HttpClientOptions {
  readonly network: Network
  readonly timers: Timers
  /** Ours, port 0. */
  readonly from: Address
}

export class HttpClient {
  readonly #options: HttpClientOptions
  readonly #pending = new Set<Exchange>()
  #closed = false

  constructor(options: HttpClientOptions) {
    this.#options = options
  }

  /**
   * Rejects with SallyportError `ERR_MAPPING_UNAVAILABLE` (no connection, not a byte), `ERR_MAPPING_ANSWER` (too long, too slow, broken off,
   * redirected, no HTTP) or `ERR_CLOSED`.
   */
  request(request: HttpRequest): Promise<HttpResponse> {
    if (this.#closed) return Promise.reject(closed())
    return new Promise((resolve, reject) => {
      const exchange = new Exchange(request, this.#options, (result) => {
        this.#pending.delete(exchange)
        if (result instanceof Error) reject(result)
        else resolve(result)
      })
      this.#pending.add(exchange)
      void exchange.start()
    })
  }

  /** Idempotent. What is pending rejects with `ERR_CLOSED`. */
  close(): void {
    this.#closed = true
    for (const exchange of [...this.#pending]) exchange.finish(closed())
  }
}

class Exchange implements StreamHandler {
  readonly #request: HttpRequest
  readonly #options: HttpClientOptions
  readonly #done: (result: HttpResponse | SallyportError) => void
  readonly #reader: HttpResponseReader
  readonly #dialling = new AbortController()
  #timer: Timer | undefined
  #stream: Stream | undefined
  #over = false

  constructor(request: HttpRequest, options: HttpClientOptions, done: (result: HttpResponse | SallyportError) => void) {
    this.#request = request
    this.#options = options
    this.#done = done
    this.#reader = new HttpResponseReader(request.limit)
  }

  async start(): Promise<void> {
    const { network, timers, from } = this.#options
    this.#timer = timers.after(LONGEST_EXCHANGE, () => this.#fail('no answer in time'))
    try {
      const stream = await network.streams.dial({ to: this.#request.url.address, from, signal: this.#dialling.signal })
      if (this.#over) {
        stream.destroy()
        return
      }
      this.#stream = stream
      stream.handle(this)
      stream.write(new TextEncoder().encode(textOf(this.#request)))
    } catch (cause) {
      this.#fail('no connection', cause)
    }
  }

  data(chunk: Uint8Array): void {
    if (this.#over) return
    try {
      if (this.#reader.push(chunk)) this.#complete()
    } catch (error) {
      this.finish(error as SallyportError)
    }
  }

  drained(): void {}

  closed(reason?: Error): void {
    if (this.#over) return
    if (reason !== undefined || !this.#reader.begun) {
      this.#fail('the connection was closed', reason)
      return
    }
    try {
      if (this.#reader.end()) this.#complete()
    } catch (error) {
      this.finish(error as SallyportError)
    }
  }

  #complete(): void {
    const { response } = this.#reader
    if (response === undefined) return
    // Where it leads is for strangers to choose: a router has no need to send us elsewhere.
    if (response.status >= 300 && response.status < 400) {
      this.finish(new SallyportError('ERR_MAPPING_ANSWER', `${formatHttpUrl(this.#request.url)} redirects (${response.status})`))
    } else this.finish(response)
  }

  #fail(why: string, cause?: unknown): void {
    const code = this.#reader.begun ? 'ERR_MAPPING_ANSWER' : 'ERR_MAPPING_UNAVAILABLE'
    this.finish(new SallyportError(code, `${formatHttpUrl(this.#request.url)}: ${why}`, { cause }))
  }

  finish(result: HttpResponse | SallyportError): void {
    if (this.#over) return
    this.#over = true
    this.#timer?.cancel()
    this.#dialling.abort()
    this.#stream?.destroy()
    this.#done(result)
  }
}

function textOf({ method, url, headers = [], body = '' }: HttpRequest): string {
  const lines = [`${method} ${url.path} HTTP/1.1`, `Host: ${hostOf(url.address)}`, 'Connection: close']
  for (const [name, value] of headers) lines.push(`${name}: ${value}`)
  if (method === 'POST') lines.push(`Content-Length: ${new TextEncoder().encode(body).length}`)
  return `${lines.join('\r\n')}\r\n\r\n${body}`
}

export function closed(): SallyportError {
  return new SallyportError('ERR_CLOSED', 'the port mapping client is closed')
}
