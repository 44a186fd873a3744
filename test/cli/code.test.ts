import { deflateRawSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import { decodeCode, encodeCode } from '../../src/cli/code.ts'
import type { Signal } from '../../src/index.ts'

const signal: Signal = {
  v: 1,
  id: '0123456789abcdef',
  seq: 2,
  ufrag: 'abcdefgh',
  pwd: 'abcdefghijklmnopqrstuvwx',
  tie: '00112233445566ff',
  candidates: Array.from({ length: 6 }, (_, i) => `candidate:${i + 1} 1 udp ${2130706431 - i} 192.168.1.${i + 1} 40000 typ host`),
  end: true,
}

describe('a code', () => {
  it('gives the signal back', () => {
    expect(decodeCode(encodeCode(signal))).toEqual(signal)
  })

  it('is one line of characters that every messenger leaves alone, and shorter than the JSON', () => {
    const code = encodeCode(signal)
    expect(code).toMatch(/^[\w-]+$/)
    expect(code.length).toBeLessThan(JSON.stringify(signal).length)
  })

  it('bears the white space that mail and terminals put in', () => {
    const code = encodeCode(signal)
    expect(decodeCode(`  ${code.slice(0, 40)}\r\n ${code.slice(40)}\n`)).toEqual(signal)
  })

  it.each([
    ['something else', 'hello', 'starts with'],
    ['nothing', '', 'starts with'],
    ['the mark alone', 'sallyport1-', 'no code has'],
    ['other characters', `${encodeCode(signal)}!`, 'no code has'],
    ['half a code', encodeCode(signal).slice(0, 90), 'damaged'],
    ['what is no signal', `sallyport1-${deflateRawSync('{"v":1}').toString('base64url')}`, 'ufrag'],
    ['a bomb', `sallyport1-${deflateRawSync(Buffer.alloc(10_000_000, 32)).toString('base64url')}`, 'damaged'],
  ])('says why %s is none', (_what, text, why) => {
    expect(decodeCode(text)).toEqual(expect.stringContaining(why))
  })

  it('is refused, and never throws, wherever it is cut off', () => {
    const code = encodeCode(signal)
    for (let length = 0; length < code.length - 1; length++) expect(typeof decodeCode(code.slice(0, length))).toBe('string')
  })
})
