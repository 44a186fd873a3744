import { describe, expect, it } from 'vitest'
import { parseIfInet6 } from '../../../src/net/node/if-inet6.ts'
import { interfaceAddresses } from '../../../src/net/node/interfaces.ts'

const SAMPLE = `20010db8000000010000000000000010 02 40 00 00     eth0
20010db800000001aaaabbbbccccdddd 02 40 00 01     eth0
20010db800000001aaaabbbbccccdddf 02 40 00 21     eth0
20010db8000000020000000000000010 02 40 00 c0     eth0
20010db8000000030000000000000010 02 40 00 44     eth0
20010db8000000040000000000000010 02 40 00 08     eth0
fe8000000000000000fc00fffe000001 02 40 20 80     eth0
00000000000000000000000000000001 01 80 10 80       lo
`

function flagsOf(address: string): string[] {
  const state = parseIfInet6(SAMPLE).get(address)
  return Object.entries(state ?? { missing: true }).flatMap(([name, set]) => (set ? [name] : []))
}

describe('/proc/net/if_inet6', () => {
  it.each([
    ['2001:db8:0:1::10 eth0', []],
    ['2001:db8:0:1:aaaa:bbbb:cccc:dddd eth0', ['temporary']],
    ['2001:db8:0:1:aaaa:bbbb:cccc:dddf eth0', ['temporary', 'deprecated']],
    ['2001:db8:0:2::10 eth0', ['tentative']],
    ['fe80::fc:ff:fe00:1 eth0', []],
    ['::1 lo', []],
  ])('tells the state of %s: %j', (address, flags) => {
    expect(flagsOf(address)).toEqual(flags)
  })

  it('RFC 4429: an optimistic address may be used', () => {
    expect(flagsOf('2001:db8:0:3::10 eth0')).toEqual([])
  })

  it('RFC 4862 5.4: an address that is somebody else’s may not', () => {
    expect(flagsOf('2001:db8:0:4::10 eth0')).toEqual(['tentative'])
  })

  it('is read past lines that make no sense', () => {
    expect(parseIfInet6('').size).toBe(0)
    expect(parseIfInet6('\n\nnonsense\n20010db8 02 40 00 00 eth0\n').size).toBe(0)
  })
})

describe('the list of interfaces', () => {
  const found = {
    lo: [{ address: '127.0.0.1', netmask: '255.0.0.0', family: 'IPv4' as const, mac: '', internal: true, cidr: '127.0.0.1/8' }],
    eth0: [
      {
        address: '2001:db8:0:1:aaaa:bbbb:cccc:dddf',
        netmask: '',
        family: 'IPv6' as const,
        mac: '',
        internal: false,
        cidr: '2001:db8:0:1:aaaa:bbbb:cccc:dddf/64',
        scopeid: 0,
      },
      {
        address: '2001:db8:0:2::10',
        netmask: '',
        family: 'IPv6' as const,
        mac: '',
        internal: false,
        cidr: '2001:db8:0:2::10/64',
        scopeid: 0,
      },
      {
        address: 'fe80::fc:ff:fe00:1',
        netmask: '',
        family: 'IPv6' as const,
        mac: '',
        internal: false,
        cidr: 'fe80::fc:ff:fe00:1/64',
        scopeid: 2,
      },
    ],
  }

  it('joins what Node.js tells with what the kernel tells, and leaves out what cannot be bound', () => {
    const list = interfaceAddresses(found, parseIfInet6(SAMPLE), false)
    expect(list.map(({ name, address, prefixLength }) => `${name} ${address.key}/${prefixLength}`)).toEqual([
      'lo 127.0.0.1:0/8',
      'eth0 [2001:db8:0:1:aaaa:bbbb:cccc:dddf]:0/64',
      'eth0 [fe80::fc:ff:fe00:1%eth0]:0/64',
    ])
    expect(list.map(({ internal, temporary, deprecated }) => [internal, temporary, deprecated])).toEqual([
      [true, false, false],
      [false, true, true],
      [false, false, false],
    ])
  })

  it('names zones by number where the system does', () => {
    expect(interfaceAddresses(found, new Map(), true).at(-1)?.address.zone).toBe('2')
  })
})
