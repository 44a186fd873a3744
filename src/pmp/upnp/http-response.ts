/**
 * Reads one HTTP/1.1 response out of the bytes of a connection (RFC 9112), without any I/O. The body ends by its chunks, by its length or
 * with the connection. Everything is limited: the head, the body, and what chunks put around it.
 */
import { SallyportError } from '../../errors.ts'

export interface HttpResponse {
  readonly status: number
  /** Names in lower case; of several the first. */
  readonly headers: ReadonlyMap<string, string>
  readonly body: Uint8Array
}

/** Bytes of the status line and all headers, those of interim responses and trailers included. */
const LONGEST_HEAD = 16 << 10
/** Bytes of the line before a chunk. */
const LONGEST_SIZE_LINE = 256
/** Bytes around chunks, as a multiple of what may be in them: a chunk of one byte has six. */
const MOST_AROUND = 8

type State = 'status' | 'headers' | 'chunk-size' | 'chunk' | 'chunk-end' | 'trailers' | 'length' | 'until-end' | 'done'

const STATUS_LINE = /^HTTP\/1\.[0-9] ([1-5][0-9]{2})(?: |$)/

export class HttpResponseReader {
  readonly #limit: number
  #state: State = 'status'
  #line = ''
  #head = 0
  #around = 0
  #status = 0
  #headers = new Map<string, string>()
  /** Bytes until the end of the chunk or the body. */
  #left = 0
  /** Copied together: pieces may be a byte each, and each would keep the whole chunk that it is in. */
  #body = new Uint8Array(0)
  #size = 0

  /** `limit`: bytes of the body. */
  constructor(limit: number) {
    this.#limit = limit
  }

  /** Whether a byte has come. */
  get begun(): boolean {
    return this.#head > 0
  }

  /** Once all of it has come. */
  get response(): HttpResponse | undefined {
    if (this.#state !== 'done') return undefined
    return { status: this.#status, headers: this.#headers, body: this.#body.subarray(0, this.#size) }
  }

  /** @returns whether the response is complete @throws SallyportError `ERR_MAPPING_ANSWER` */
  push(chunk: Uint8Array): boolean {
    for (let at = 0; at < chunk.length && this.#state !== 'done'; ) {
      at =
        this.#state === 'chunk' || this.#state === 'length' || this.#state === 'until-end' ? this.#take(chunk, at) : this.#read(chunk, at)
    }
    return this.#state === 'done'
  }

  /**
   * The other side has ended in order. A body shorter than was said is taken as it is: some routers count wrongly, and XML shows whether
   * its end is there. @returns whether the response is complete @throws SallyportError `ERR_MAPPING_ANSWER`
   */
  end(): boolean {
    if (this.#state === 'until-end' || this.#state === 'length') this.#state = 'done'
    if (this.#state !== 'done') throw refused('it ends in the middle')
    return true
  }

  #take(chunk: Uint8Array, at: number): number {
    const end = this.#state === 'until-end' ? chunk.length : Math.min(chunk.length, at + this.#left)
    const size = this.#size + end - at
    if (size > this.#limit) throw refused(`it is longer than ${this.#limit} bytes`)
    if (size > this.#body.length) {
      const larger = new Uint8Array(Math.min(this.#limit, Math.max(4096, 2 * size)))
      larger.set(this.#body.subarray(0, this.#size))
      this.#body = larger
    }
    this.#body.set(chunk.subarray(at, end), this.#size)
    this.#size = size
    this.#left -= end - at
    if (this.#left === 0 && this.#state === 'length') this.#state = 'done'
    if (this.#left === 0 && this.#state === 'chunk') this.#state = 'chunk-end'
    return end
  }

  #read(chunk: Uint8Array, at: number): number {
    const feed = chunk.indexOf(10, at)
    const end = feed < 0 ? chunk.length : feed
    const inBody = this.#state === 'chunk-size' || this.#state === 'chunk-end'
    if (inBody) this.#around += end - at + 1
    else this.#head += end - at + 1
    const line = this.#line.length + end - at
    if (this.#head > LONGEST_HEAD || (inBody && line > LONGEST_SIZE_LINE) || this.#around > MOST_AROUND * this.#limit + LONGEST_HEAD) {
      throw refused('there is no end to what stands around its body')
    }
    for (let i = at; i < end; i++) this.#line += String.fromCharCode(chunk[i] ?? 0)
    if (feed < 0) return end
    const whole = this.#line.endsWith('\r') ? this.#line.slice(0, -1) : this.#line
    this.#line = ''
    this.#understand(whole)
    return feed + 1
  }

  #understand(line: string): void {
    switch (this.#state) {
      case 'status': {
        // RFC 9112 2.2: an empty line before is passed over.
        if (line === '') return
        const match = STATUS_LINE.exec(line)
        if (match === null) throw refused('it is no HTTP')
        this.#status = Number(match[1])
        this.#state = 'headers'
        return
      }
      case 'headers':
        if (line === '') this.#begin()
        else this.#header(line)
        return
      case 'chunk-size': {
        const match = /^([0-9a-f]{1,8})[ \t]*(?:;.*)?$/i.exec(line)
        if (match === null) throw refused('a chunk has no size')
        this.#left = Number.parseInt(match[1] ?? '', 16)
        if (this.#size + this.#left > this.#limit) throw refused(`it is longer than ${this.#limit} bytes`)
        this.#state = this.#left === 0 ? 'trailers' : 'chunk'
        return
      }
      case 'chunk-end':
        if (line !== '') throw refused('a chunk is longer than it says')
        this.#state = 'chunk-size'
        return
      default:
        if (line === '') this.#state = 'done'
    }
  }

  #header(line: string): void {
    const colon = line.indexOf(':')
    // A line that goes on (RFC 9112 5.2) or is no header: nothing that is asked for here stands in such.
    if (colon <= 0 || line.startsWith(' ') || line.startsWith('\t')) return
    const name = line.slice(0, colon).trim().toLowerCase()
    const value = line.slice(colon + 1).trim()
    const before = this.#headers.get(name)
    // RFC 9112 6.3: two lengths are an attack or a mistake.
    if (name === 'content-length' && before !== undefined && before !== value) throw refused('it has two lengths')
    if (before === undefined) this.#headers.set(name, value)
  }

  /** RFC 9112 6.3. */
  #begin(): void {
    if (this.#status < 200) {
      this.#headers = new Map()
      this.#state = 'status'
      return
    }
    const coding = this.#headers.get('transfer-encoding')?.toLowerCase() ?? 'identity'
    const length = this.#headers.get('content-length')
    if (this.#status === 204 || this.#status === 304) this.#state = 'done'
    else if (coding === 'chunked') this.#state = 'chunk-size'
    else if (coding !== 'identity') throw refused('its coding is unknown')
    else if (length === undefined) this.#state = 'until-end'
    else {
      if (!/^[0-9]{1,15}$/.test(length)) throw refused('its length is no number')
      this.#left = Number(length)
      if (this.#left > this.#limit) throw refused(`it is longer than ${this.#limit} bytes`)
      this.#state = this.#left === 0 ? 'done' : 'length'
    }
  }
}

function refused(why: string): SallyportError {
  return new SallyportError('ERR_MAPPING_ANSWER', `the router's HTTP response makes no sense: ${why}`)
}
