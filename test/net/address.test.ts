import fc from 'fast-check'
import { Address4 } from 'ip-address'
import { describe, expect, it } from 'vitest'
import { SallyportError } from '../../src/errors.ts'
import { Address, Prefix, type Scope } from '../../src/net/index.ts'

describe('an address', () => {
  it.each([
    ['192.0.2.1', 4000, '192.0.2.1', 4, '192.0.2.1:4000'],
    ['0.0.0.0', 0, '0.0.0.0', 4, '0.0.0.0:0'],
    ['255.255.255.255', 65_535, '255.255.255.255', 4, '255.255.255.255:65535'],
    ['2001:db8::1', 4000, '2001:db8::1', 6, '[2001:db8::1]:4000'],
    ['::', 0, '::', 6, '[::]:0'],
    ['::1', 9, '::1', 6, '[::1]:9'],
  ])('%s port %i is kept in canonical text', (text, port, ip, family, key) => {
    const address = Address.of(text, port)
    expect([address.ip, address.port, address.family, address.key]).toEqual([ip, port, family, key])
    expect([String(address), JSON.stringify({ address })]).toEqual([key, `{"address":"${key}"}`])
  })

  it.each([
    ['2001:DB8:0:0:0:0:0:1', '2001:db8::1'],
    ['2001:0db8::0001', '2001:db8::1'],
    ['2001:db8:0:0:1:0:0:1', '2001:db8::1:0:0:1'],
    ['2001:db8:0:1:1:1:1:1', '2001:db8:0:1:1:1:1:1'],
    ['2001:0:0:1:0:0:0:1', '2001:0:0:1::1'],
    ['0:0:0:0:0:0:0:0', '::'],
    ['64:ff9b::192.0.2.33', '64:ff9b::c000:221'],
  ])('RFC 5952: %s is %s', (text, ip) => {
    expect(Address.of(text, 1).ip).toBe(ip)
    expect(Address.of(text, 1).equals(Address.of(ip, 1))).toBe(true)
  })

  it.each(['::ffff:192.0.2.1', '::ffff:c000:201', '::FFFF:192.0.2.1', '0:0:0:0:0:ffff:192.0.2.1'])(
    'RFC 4291 2.5.5.2: %s is the IPv4 address in it',
    (text) => {
      const address = Address.of(text, 4000)
      expect(address.key).toBe('192.0.2.1:4000')
      expect(address.family).toBe(4)
      expect(Buffer.from(address.bytes).toString('hex')).toBe('c0000201')
    },
  )

  it.each([
    ['1.2.3.4/24'],
    ['2001:db8::1/64'],
    ['010.1.1.1'],
    ['1.2.3.08'],
    ['0x7f.0.0.1'],
    ['127.1'],
    ['2130706433'],
    ['256.1.1.1'],
    ['1.2.3'],
    ['1.2.3.4.5'],
    ['1.2.3.4 '],
    [' 1.2.3.4'],
    ['1.2.3.4:80'],
    ['[::1]'],
    ['::1::'],
    ['1:2:3:4:5:6:7'],
    ['1:2:3:4:5:6:7:8:9'],
    ['12345::'],
    ['g::1'],
    [''],
    ['localhost'],
    ['::ffff:1.2.3.999'],
    ['fe80::1%'.padEnd(100, 'x')],
  ])('is not read out of %j', (text) => {
    expect(Address.tryOf(text, 4000)).toBeUndefined()
    expect(() => Address.of(text, 4000)).toThrow(SallyportError)
    expect(() => Address.of(text, 4000)).toThrow(expect.objectContaining({ code: 'ERR_ADDRESS' }))
  })

  it('reads the IPv4 addresses that ip-address reads, and no others', () => {
    const piece = fc.oneof(fc.integer({ min: 0, max: 300 }).map(String), fc.stringMatching(/^[0-9a-fx .:/-]{0,4}$/))
    const text = fc.array(piece, { minLength: 3, maxLength: 5 }).map((pieces) => pieces.join('.'))
    fc.assert(
      fc.property(text, (ip) => {
        fc.pre(!ip.includes(':') && !ip.includes('/'))
        const expected = Address4.isValid(ip) ? new Address4(ip) : undefined
        expect(Address.tryOf(ip, 1)?.ip).toBe(expected?.correctForm())
        expect(Address.tryOf(ip, 1)?.bytes).toEqual(expected && Uint8Array.from(expected.toArray()))
      }),
      { numRuns: 1_000 },
    )
  })

  it.each([-1, 65_536, 1.5, Number.NaN, Number.POSITIVE_INFINITY])('has no port %d', (port) => {
    expect(Address.tryOf('192.0.2.1', port)).toBeUndefined()
  })

  it('RFC 4007: keeps the zone of a link-local address, and of no other', () => {
    const local = Address.of('fe80::1%eth0', 4000)
    expect([local.ip, local.zone, local.key]).toEqual(['fe80::1', 'eth0', '[fe80::1%eth0]:4000'])
    expect(Address.of('2001:db8::1%eth0', 1).zone).toBe('')
    expect(local.equals(Address.of('fe80::1%eth1', 4000))).toBe(false)
    expect(local.sameIp(Address.of('fe80::1%eth1', 4000))).toBe(false)
    expect(local.sameIp(Address.of('fe80::1%eth0', 5000))).toBe(true)
  })

  it('takes another port, and is itself when it has that one', () => {
    const address = Address.of('fe80::1%eth0', 4000)
    expect(address.withPort(4000)).toBe(address)
    expect(address.withPort(5000).key).toBe('[fe80::1%eth0]:5000')
    expect(address.key).toBe('[fe80::1%eth0]:4000')
  })

  it('is frozen', () => {
    const address = Address.of('192.0.2.1', 1)
    expect(Object.isFrozen(address)).toBe(true)
  })

  it('is made from bytes, which stay the caller’s', () => {
    const bytes = new Uint8Array([192, 0, 2, 1])
    const address = Address.fromBytes(bytes, 4000)
    bytes.fill(0)
    expect([address.key, [...address.bytes]]).toEqual(['192.0.2.1:4000', [192, 0, 2, 1]])
    const six = Uint8Array.from(Buffer.from('20010db8000000000000000000000001', 'hex'))
    expect(Address.fromBytes(six, 4000).key).toBe('[2001:db8::1]:4000')
  })

  it.each([0, 3, 5, 15, 17])('is not made from %i bytes', (length) => {
    expect(() => Address.fromBytes(new Uint8Array(length), 1)).toThrow(expect.objectContaining({ code: 'ERR_ADDRESS' }))
  })

  it('goes to bytes and back, in either family', () => {
    const bytes = fc.oneof(fc.uint8Array({ minLength: 4, maxLength: 4 }), fc.uint8Array({ minLength: 16, maxLength: 16 }))
    fc.assert(
      fc.property(bytes, fc.integer({ min: 0, max: 65_535 }), (raw, port) => {
        const address = Address.fromBytes(raw, port)
        const again = Address.of(address.ip, port)
        expect(again.key).toBe(address.key)
        expect([...again.bytes]).toEqual([...address.bytes])
        expect(again.scope).toBe(address.scope)
      }),
    )
  })

  it('of any host of a family has its wildcard', () => {
    expect([Address.any(4).key, Address.any(6, 5).key]).toEqual(['0.0.0.0:0', '[::]:5'])
  })

  it.each<[string, Scope]>([
    ['0.0.0.0', 'unspecified'],
    ['0.1.2.3', 'unspecified'],
    ['127.0.0.1', 'loopback'],
    ['127.255.255.255', 'loopback'],
    ['169.254.0.1', 'link-local'],
    ['169.253.0.1', 'global'],
    ['10.0.0.1', 'private'],
    ['172.15.255.255', 'global'],
    ['172.16.0.0', 'private'],
    ['172.31.255.255', 'private'],
    ['172.32.0.0', 'global'],
    ['192.168.0.1', 'private'],
    ['192.169.0.1', 'global'],
    ['100.63.255.255', 'global'],
    ['100.64.0.0', 'shared'],
    ['100.127.255.255', 'shared'],
    ['100.128.0.0', 'global'],
    ['224.0.0.1', 'multicast'],
    ['240.0.0.1', 'multicast'],
    ['255.255.255.255', 'multicast'],
    ['8.8.8.8', 'global'],
    ['::', 'unspecified'],
    ['::1', 'loopback'],
    ['::2', 'global'],
    ['fe80::1', 'link-local'],
    ['febf::1', 'link-local'],
    ['fec0::1', 'global'],
    ['fc00::1', 'private'],
    ['fdff::1', 'private'],
    ['fe00::1', 'global'],
    ['ff02::1', 'multicast'],
    ['2001:db8::1', 'global'],
    ['64:ff9b::c000:221', 'global'],
    ['::ffff:127.0.0.1', 'loopback'],
  ])('%s reaches as far as %s', (ip, scope) => {
    expect(Address.of(ip, 0).scope).toBe(scope)
  })
})

describe('a range of addresses', () => {
  it.each([
    ['10.0.0.0/8', '10.255.255.255', true],
    ['10.0.0.0/8', '11.0.0.0', false],
    ['192.0.2.128/25', '192.0.2.128', true],
    ['192.0.2.128/25', '192.0.2.127', false],
    ['100.64.0.0/10', '100.127.255.255', true],
    ['100.64.0.0/10', '100.128.0.0', false],
    ['172.16.0.0/12', '172.31.255.255', true],
    ['172.16.0.0/12', '172.32.0.0', false],
    ['192.0.2.4/31', '192.0.2.5', true],
    ['192.0.2.4/31', '192.0.2.6', false],
    ['192.0.2.4', '192.0.2.4', true],
    ['192.0.2.4/32', '192.0.2.5', false],
    ['0.0.0.0/0', '203.0.113.9', true],
    ['0.0.0.0/0', '2001:db8::1', false],
    ['128.0.0.0/1', '127.255.255.255', false],
    ['128.0.0.0/1', '128.0.0.0', true],
    ['10.9.8.7/8', '10.0.0.1', true],
    ['fc00::/7', 'fdff::1', true],
    ['fc00::/7', 'fe00::1', false],
    ['2001:db8::/33', '2001:db8:7fff::1', true],
    ['2001:db8::/33', '2001:db8:8000::1', false],
    ['2001:db8::/127', '2001:db8::1', true],
    ['2001:db8::/127', '2001:db8::2', false],
    ['::1', '::1', true],
    ['::/0', 'ffff::', true],
    ['::/0', '192.0.2.1', false],
    ['fe80::/10', 'fe80::1%eth0', true],
    ['192.0.2.0/24', '::ffff:192.0.2.1', true],
  ])('%s has %s in it: %s', (range, ip, inside) => {
    expect(Prefix.parse(range).contains(Address.of(ip, 0))).toBe(inside)
  })

  it.each(['10.0.0.0/33', '::/129', '10.0.0.0/', '10.0.0.0/-1', '10.0.0.0/8/8', '10.0.0.0/8.5', '10.0.0.0/ 8', '10/8', '', '/8', 'eth0'])(
    'is not read out of %j',
    (text) => {
      expect(() => Prefix.parse(text)).toThrow(expect.objectContaining({ code: 'ERR_ADDRESS' }))
    },
  )

  it('around an address is that of its network', () => {
    const range = Prefix.around(Address.of('192.0.2.77', 4000), 26)
    expect([range.length, range.family]).toEqual([26, 4])
    expect(range.contains(Address.of('192.0.2.64', 0))).toBe(true)
    expect(range.contains(Address.of('192.0.2.63', 0))).toBe(false)
  })

  it('agrees with counting bits, at every length', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: 4, maxLength: 4 }),
        fc.uint8Array({ minLength: 4, maxLength: 4 }),
        fc.integer({ min: 0, max: 32 }),
        (a, b, length) => {
          const bits = (raw: Uint8Array): string =>
            [...raw]
              .map((byte) => byte.toString(2).padStart(8, '0'))
              .join('')
              .slice(0, length)
          const inside = Prefix.around(Address.fromBytes(a, 0), length).contains(Address.fromBytes(b, 0))
          expect(inside).toBe(bits(a) === bits(b))
        },
      ),
    )
  })
})
