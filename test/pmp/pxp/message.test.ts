import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Address, Prefix } from '../../../src/net/index.ts'
import { natPmpAddressRequest, natPmpMappingRequest, readNatPmp } from '../../../src/pmp/pxp/nat-pmp-message.ts'
import { nonceOf, pcpAnnounceRequest, pcpMapRequest, readPcp } from '../../../src/pmp/pxp/pcp-message.ts'
import { filterOption, readOptions } from '../../../src/pmp/pxp/pcp-options.ts'
import { bytes, hexOf } from './gateway.ts'

const HOST = Address.of('192.168.1.2', 0)
const NONCE = bytes('000102030405060708090a0b')

describe('NAT-PMP messages', () => {
  it('asks for the external address in two bytes (RFC 6886 3.2)', () => {
    expect(hexOf(natPmpAddressRequest())).toBe('0000')
  })

  it.each([
    ['udp', 5000, 5001, 7200, '00 01 0000 1388 1389 00001c20'],
    ['tcp', 5000, 80, 0xffff_ffff, '00 02 0000 1388 0050 ffffffff'],
    // RFC 6886 3.4: the external port of a deletion is 0.
    ['udp', 5000, 5001, 0, '00 01 0000 1388 0000 00000000'],
  ] as const)('asks for %s %i as %i for %i s (RFC 6886 3.3)', (transport, internal, external, lifetime, expected) => {
    expect(hexOf(natPmpMappingRequest(transport, internal, external, lifetime))).toBe(hexOf(bytes(expected)))
  })

  it('never asks for internal port 0, which would delete all mappings (RFC 6886 3.4)', () => {
    expect(() => natPmpMappingRequest('udp', 0, 0, 0)).toThrow(RangeError)
  })

  it('reads the external address', () => {
    const answer = readNatPmp(bytes('00 80 0000 00000102 cb007109'))
    expect(answer).toMatchObject({ kind: 'address', opcode: 0, code: 0, result: 'SUCCESS', epochSeconds: 258 })
    expect(answer.kind === 'address' && answer.external?.key).toBe('203.0.113.9:0')
  })

  it('reads a mapping', () => {
    expect(readNatPmp(bytes('00 82 0000 00000102 1388 1389 00000e10'))).toEqual({
      kind: 'mapping',
      transport: 'tcp',
      opcode: 2,
      code: 0,
      result: 'SUCCESS',
      epochSeconds: 258,
      mapping: { internalPort: 5000, externalPort: 5001, lifetimeSeconds: 3600 },
    })
  })

  it.each([
    [1, 'UNSUPPORTED_VERSION'],
    [2, 'NOT_AUTHORIZED'],
    [3, 'NETWORK_FAILURE'],
    [4, 'OUT_OF_RESOURCES'],
    [5, 'UNSUPPORTED_OPCODE'],
    [6, undefined],
    [0x0100, undefined],
  ] as const)('reads result %i as %s, in eight bytes', (code, result) => {
    const data = bytes(`00 81 ${code.toString(16).padStart(4, '0')} 00000001`)
    expect(readNatPmp(data)).toMatchObject({ kind: 'mapping', code, result, mapping: undefined })
  })

  it.each([
    ['', 'too short'],
    ['00 80 0000 000001', 'too short'],
    ['00 80 0000 00000102 cb0071', 'too short'],
    ['00 81 0000 00000102 1388 1389 00000e', 'too short'],
    ['02 81 0000 00000102 1388 1389 00000e10', 'another version'],
    ['00 01 0000 00000102 1388 1389 00000e10', 'a request'],
  ])('does not read %s: %s', (data, why) => {
    expect(readNatPmp(bytes(data))).toEqual({ kind: 'unreadable', why })
  })

  it('reads what is longer than it has to be', () => {
    expect(readNatPmp(bytes('00 80 0000 00000102 cb007109 00000000')).kind).toBe('address')
  })
})

const HEAD = '02 81 00 00 00001c20 00000102 000000000000000000000000'
const BODY = '000102030405060708090a0b 11 000000 1388 1389 00000000000000000000ffffcb007109'

describe('PCP messages', () => {
  it('asks with ANNOUNCE in a header alone (RFC 6887 7.1, 14.1.1)', () => {
    expect(hexOf(pcpAnnounceRequest(HOST))).toBe(hexOf(bytes('02 00 0000 00000000 00000000000000000000ffffc0a80102')))
  })

  it('asks for a mapping (RFC 6887 11.1)', () => {
    const request = pcpMapRequest({
      client: HOST,
      transport: 'udp',
      nonce: NONCE,
      internalPort: 5000,
      external: Address.of('203.0.113.9', 5001),
      lifetimeSeconds: 7200,
    })
    expect(hexOf(request)).toBe(hexOf(bytes(`02 01 0000 00001c20 00000000000000000000ffffc0a80102 ${BODY}`)))
  })

  it('asks in IPv6, for any address, with options (RFC 6887 13.2, 13.3)', () => {
    const request = pcpMapRequest({
      client: Address.of('2001:db8::2', 0),
      transport: 'tcp',
      nonce: NONCE,
      internalPort: 5000,
      external: Address.any(6, 5000),
      lifetimeSeconds: 0,
      options: [{ kind: 'prefer-failure' }, filterOption(Prefix.parse('198.51.100.0/24')), filterOption(Prefix.parse('2001:db8:1::/48'))],
    })
    const expected = `02 01 0000 00000000 20010db8000000000000000000000002
      000102030405060708090a0b 06 000000 1388 1388 00000000000000000000000000000000
      02 00 0000
      03 00 0014 00 78 0000 00000000000000000000ffffc6336400
      03 00 0014 00 30 0000 20010db8000100000000000000000000`
    expect(hexOf(request)).toBe(hexOf(bytes(expected)))
  })

  it('asks for IPv4 without a wish in the mapped form of the wildcard', () => {
    const request = pcpMapRequest({
      client: HOST,
      transport: 'udp',
      nonce: NONCE,
      internalPort: 1,
      external: Address.any(4),
      lifetimeSeconds: 1,
    })
    expect(hexOf(request.subarray(44))).toBe('00000000000000000000ffff00000000')
  })

  it('refuses more options than a message has room for', () => {
    const options = Array.from({ length: 44 }, () => filterOption(Prefix.parse('198.51.100.0/24')))
    const request = { client: HOST, transport: 'udp', nonce: NONCE, internalPort: 1, external: Address.any(4), lifetimeSeconds: 1 } as const
    expect(pcpMapRequest({ ...request, options: options.slice(1) }).length).toBe(60 + 43 * 24)
    expect(() => pcpMapRequest({ ...request, options })).toThrow(RangeError)
  })

  it('reads a mapping', () => {
    const answer = readPcp(bytes(`${HEAD} ${BODY}`))
    expect(answer).toMatchObject({ kind: 'answer', opcode: 1, result: 'SUCCESS', lifetimeSeconds: 7200, epochSeconds: 258, options: [] })
    expect(answer.kind === 'answer' && answer.mapping).toMatchObject({
      nonce: '000102030405060708090a0b',
      transport: 'udp',
      internalPort: 5000,
    })
    expect(answer.kind === 'answer' && answer.mapping?.external.key).toBe('203.0.113.9:5001')
  })

  it.each(
    [
      ...['UNSUPP_VERSION', 'NOT_AUTHORIZED', 'MALFORMED_REQUEST', 'UNSUPP_OPCODE', 'UNSUPP_OPTION', 'MALFORMED_OPTION', 'NETWORK_FAILURE'],
      ...['NO_RESOURCES', 'UNSUPP_PROTOCOL', 'USER_EX_QUOTA', 'CANNOT_PROVIDE_EXTERNAL', 'ADDRESS_MISMATCH', 'EXCESSIVE_REMOTE_PEERS'],
      undefined,
    ].map((result, i) => [i + 1, result] as const),
  )('reads result %i as %s (RFC 6887 7.4)', (code, result) => {
    const data = bytes(HEAD)
    data[3] = code
    expect(readPcp(data)).toMatchObject({ kind: 'answer', code, result, mapping: undefined })
  })

  it.each([
    ['02 81 00', 'length'],
    ['02 81 00 00 00001c20 00000102 00000000000000000000', 'length'],
    [HEAD, 'length'], // success, but no mapping
    [`${HEAD} ${BODY} 00`, 'length'],
    [`${HEAD} ${BODY} ${'00'.repeat(1044)}`, 'length'],
    [`02 01 ${HEAD.slice(6)} ${BODY}`, 'a request'],
    [`01 ${HEAD.slice(3)} ${BODY}`, 'another version'],
    // miniupnpd 2.3.1, of a request that it cannot read.
    ['00 80 00 03 00000000 00000102 000000000000000000000000', 'another version'],
    [`${HEAD} ${BODY} 03 00 0014 00 78 0000`, 'options'],
    [`${HEAD} ${BODY} 02 00 0004 00000000`, 'options'],
    [`${HEAD} ${BODY} 01 00 0004 00000000`, 'options'],
    [`${HEAD} ${BODY} 03 00 0014 00 81 0000 00000000000000000000ffffc6336400`, 'options'],
  ])('does not read %s: %s', (data, why) => {
    expect(readPcp(bytes(data))).toEqual({ kind: 'unreadable', why })
  })

  it.each([
    ['00 81 0001 00000102', { version: 0, opcode: 1, lifetimeSeconds: undefined }],
    ['01 80 0001 00000708 00000000', { version: 1, opcode: 0, lifetimeSeconds: 1800 }],
    ['03 81 0001', { version: 3, opcode: 1, lifetimeSeconds: undefined }],
  ])('reads %s as word of another version (RFC 6887 9)', (data, expected) => {
    expect(readPcp(bytes(data))).toEqual({ kind: 'other-version', ...expected })
  })

  it('reads options, with the padding after what is no whole number of words', () => {
    const options = readOptions(
      bytes(`01 00 0010 00000000000000000000ffffc0a80103  02 00 0000  03 00 0014 00 78 0050 00000000000000000000ffffc6336400
        81 ff 0005 0102030405 000000`),
      0,
    )
    expect(options).toMatchObject([
      { kind: 'third-party', internal: { key: '192.168.1.3:0' } },
      { kind: 'prefer-failure' },
      { kind: 'filter', prefixLength: 120, remote: { key: '198.51.100.0:80' } },
      { kind: 'other', code: 0x81, data: Uint8Array.of(1, 2, 3, 4, 5) },
    ])
    expect(readOptions(bytes('81 00 0005 0102030405 0000'), 0)).toBeUndefined()
  })

  it('takes only the digits of a nonce for one', () => {
    expect(nonceOf('000102030405060708090a0b')).toEqual(NONCE)
    for (const other of [undefined, 7, '', '0001', 'z'.repeat(24), '000102030405060708090a0b00']) expect(nonceOf(other)).toBeUndefined()
  })
})

describe('any bytes at all', () => {
  const whole = [
    bytes(`${HEAD} ${BODY} 03 00 0014 00 78 0000 00000000000000000000ffffc6336400`),
    bytes('00 81 0000 00000102 1388 1389 00000e10'),
  ]

  it('every beginning of an answer is read or unreadable, and nothing throws', () => {
    for (const data of whole) {
      for (let length = 0; length <= data.length; length++) {
        const part = data.subarray(0, length)
        expect(['unreadable', 'mapping', 'other-version', 'answer']).toContain(readPcp(part).kind)
        expect(['unreadable', 'mapping', 'address', 'other']).toContain(readNatPmp(part).kind)
      }
    }
  })

  it('every change of an answer is read or unreadable, and nothing throws', () => {
    const changes = fc.array(fc.tuple(fc.nat(100), fc.nat(255)), { maxLength: 8 })
    fc.assert(
      fc.property(fc.constantFrom(...whole), changes, fc.nat(84), (data, changed, length) => {
        const copy = data.slice(0, length)
        for (const [at, value] of changed) if (at < copy.length) copy[at] = value
        readPcp(copy)
        readNatPmp(copy)
        readOptions(copy, 0)
      }),
      { numRuns: 2_000 },
    )
  })
})
