import { expect, it } from 'vitest'
import { HttpResponseReader } from '../../../src/pmp/upnp/http-response.ts'
import { bytes, text } from './fake-igd.ts'

const LIMIT = 1000

/** `ended`: the connection ends after it. @returns status and body, or the code of the error */
function read(response: string, { ended = false, step = response.length } = {}): string {
  const reader = new HttpResponseReader(LIMIT)
  try {
    for (let at = 0; at < response.length; at += step) reader.push(bytes(response.slice(at, at + step)))
    if (ended) reader.end()
  } catch (error) {
    return (error as { code: string }).code
  }
  const { response: whole } = reader
  return whole === undefined ? 'more' : `${whole.status} ${text(whole.body)}`
}

it.each([1, 2, 7, 1000])('a body ends by its length, its chunks or the connection, whatever the pieces (%i bytes)', (step) => {
  expect(read('HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello', { step })).toBe('200 hello')
  expect(read('HTTP/1.1 200 OK\r\ntransfer-ENCODING: Chunked\r\n\r\n3;x=y\r\nhel\r\n2\r\nlo\r\n0\r\nTrailer: 1\r\n\r\n', { step })).toBe(
    '200 hello',
  )
  expect(read('HTTP/1.0 200 OK\r\n\r\nhello', { step })).toBe('more')
  expect(read('HTTP/1.0 200 OK\r\n\r\nhello', { step, ended: true })).toBe('200 hello')
})

it('names of headers have no case, lines may end without CR, and of several the first counts', () => {
  const reader = new HttpResponseReader(LIMIT)
  reader.push(bytes('HTTP/1.1 200\nLOCATION: a\nlocation: b\ncontent-LENGTH: 0\n\n'))
  expect(reader.response?.headers.get('location')).toBe('a')
})

it('interim responses are passed over, but not without end', () => {
  expect(read('HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok')).toBe('200 ok')
  expect(read('HTTP/1.1 100 Continue\r\n\r\n'.repeat(2000))).toBe('ERR_MAPPING_ANSWER')
})

it('chunks count more than a length', () => {
  expect(read('HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n')).toBe('200 ok')
})

it('a fault has a body like anything else, no content has none', () => {
  expect(read('HTTP/1.1 500 Internal Server Error\r\nContent-Length: 2\r\n\r\nno')).toBe('500 no')
  expect(read('HTTP/1.1 204 No Content\r\n\r\n')).toBe('204 ')
})

it('a body shorter than was said, ended in order, is taken as it is', () => {
  expect(read('HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello', { ended: true })).toBe('200 hello')
})

it.each([
  ['no HTTP', 'SSH-2.0-OpenSSH\r\n'],
  ['a status of four digits', 'HTTP/1.1 2000 OK\r\n'],
  ['a length that is none', 'HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n'],
  ['two lengths', 'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n'],
  ['a length over the limit', 'HTTP/1.1 200 OK\r\nContent-Length: 104857600\r\n\r\n'],
  ['a body over the limit', `HTTP/1.1 200 OK\r\n\r\n${'x'.repeat(LIMIT + 1)}`],
  ['a chunk over the limit', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffff\r\n'],
  ['chunks over the limit', `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n${'1\r\nx\r\n'.repeat(LIMIT + 1)}`],
  ['a chunk without a size', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n'],
  ['a chunk longer than it says', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nxxx\r\n'],
  ['an endless line before a chunk', `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;${'x'.repeat(5000)}`],
  [
    'more around chunks than in them',
    `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n${`1;${'x'.repeat(200)}\r\nx\r\n`.repeat(500)}`,
  ],
  ['endless trailers', `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n${'A: b\r\n'.repeat(5000)}`],
  ['another coding', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n'],
  ['endless headers', `HTTP/1.1 200 OK\r\n${'A: b\r\n'.repeat(5000)}`],
  ['an endless header', `HTTP/1.1 200 OK\r\nA: ${'b'.repeat(50_000)}`],
  ['endless empty lines', '\r\n'.repeat(20_000)],
])('%s is refused', (_what, response) => {
  expect(read(response)).toBe('ERR_MAPPING_ANSWER')
})

it.each(['', 'HTTP/1.1 200 OK\r\nConte', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhe'])(
  '"%s" and the end is refused',
  (response) => {
    expect(read(response, { ended: true })).toBe('ERR_MAPPING_ANSWER')
  },
)
