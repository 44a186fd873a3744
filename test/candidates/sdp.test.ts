import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  type Candidate,
  type CandidateType,
  formatCandidate,
  fromRTCIceCandidate,
  parseCandidate,
  readCandidate,
  toRTCIceCandidate,
} from '../../src/candidates/index.ts'
import { SallyportError } from '../../src/errors.ts'
import { Address } from '../../src/net/index.ts'

const HOST = 'candidate:1 1 udp 2130706431 192.0.2.1 5000 typ host'

describe('a candidate line', () => {
  it.each<[string, string, Partial<Candidate> & { ip?: string; port?: number; raddr?: string }]>([
    ['host', HOST, { type: 'host', foundation: '1', priority: 2_130_706_431, ip: '192.0.2.1', port: 5_000 }],
    ['with a=', `a=${HOST}`, { type: 'host', ip: '192.0.2.1' }],
    ['without candidate:', HOST.slice(10), { type: 'host', ip: '192.0.2.1' }],
    ['with a line end', `${HOST}\r\n`, { ip: '192.0.2.1', port: 5_000 }],
    ['in capitals', 'candidate:1 1 UDP 2130706431 192.0.2.1 5000 typ host', { ip: '192.0.2.1' }],
    [
      'of libwebrtc, reflexive',
      'candidate:842163049 1 udp 1677729535 198.51.100.4 46154 typ srflx raddr 10.0.17.1 rport 46154 generation 0 ufrag EEtu network-id 3 network-cost 10',
      { type: 'srflx', ip: '198.51.100.4', port: 46_154, raddr: '10.0.17.1:46154' },
    ],
    ['of Firefox', 'candidate:0 1 UDP 2122252543 192.168.1.5 53421 typ host', { ip: '192.168.1.5' }],
    [
      'relayed',
      'candidate:3 1 udp 16777215 203.0.113.9 49170 typ relay raddr 198.51.100.4 rport 46154',
      { type: 'relay', raddr: '198.51.100.4:46154' },
    ],
    ['IPv6', 'candidate:4 1 udp 2130706430 2001:db8::1 5000 typ host', { ip: '2001:db8::1' }],
    ['link-local', 'candidate:4 1 udp 2130706430 fe80::1 5000 typ host', { ip: 'fe80::1' }],
    [
      'peer-reflexive',
      'candidate:5 1 udp 1862270975 192.0.2.1 5000 typ prflx raddr 0.0.0.0 rport 0',
      { type: 'prflx', raddr: '0.0.0.0:0' },
    ],
    ['hidden related address', `${HOST} raddr 0.0.0.0 rport 9`, { raddr: '0.0.0.0:9' }],
    ['a related address that is none', `${HOST} raddr elsewhere rport 9`, { related: undefined }],
    ['raddr without rport', `${HOST} raddr 192.0.2.9`, { related: undefined }],
    [
      'the longest foundation',
      `candidate:${'x'.repeat(32)} 1 udp 1 192.0.2.1 1 typ host`,
      { foundation: 'x'.repeat(32), priority: 1, port: 1 },
    ],
    ['the highest priority', 'candidate:1 1 udp 4294967295 192.0.2.1 65535 typ host', { priority: 4_294_967_295, port: 65_535 }],
  ])('is read: %s', (_what, line, { ip, port, raddr, ...expected }) => {
    const candidate = parseCandidate(line)
    expect(candidate).toMatchObject({ component: 1, ...expected })
    if (ip !== undefined) expect(candidate.address.ip).toBe(ip)
    if (port !== undefined) expect(candidate.address.port).toBe(port)
    if (raddr !== undefined) expect(candidate.related?.key).toBe(raddr)
  })

  it.each<[string, unknown, RegExp]>([
    ['no text', 7, /not a text/],
    ['null', null, /not a text/],
    ['an object without text', { toString: null }, /not a text/],
    ['nothing', '', /foundation/],
    ['too long', HOST.padEnd(513), /longer/],
    ['a foundation of 33', HOST.replace(':1', `:${'x'.repeat(33)}`), /foundation/],
    ['a foundation with a dot', HOST.replace(':1', ':1.2'), /foundation/],
    ['TCP', HOST.replace('udp', 'tcp'), /transport tcp/],
    ['component 2', HOST.replace(' 1 udp', ' 2 udp'), /component 2/],
    ['component 0', HOST.replace(' 1 udp', ' 0 udp'), /component 0/],
    ['C18 priority 0', HOST.replace('2130706431', '0'), /priority 0/],
    ['C18 priority 2^32', HOST.replace('2130706431', '4294967296'), /priority/],
    ['a negative priority', HOST.replace('2130706431', '-1'), /priority/],
    ['a priority in hex', HOST.replace('2130706431', '0x10'), /priority/],
    ['C18 port 0', HOST.replace('5000', '0'), /port 0/],
    ['port 65536', HOST.replace('5000', '65536'), /port 65536/],
    ['C18 another type', HOST.replace('host', 'magic'), /type magic/],
    ['a type from the prototype', HOST.replace('host', 'constructor'), /type constructor/],
    ['no typ', HOST.replace('typ', 'type'), /type/],
    ['C19 an mDNS name, which only a session resolves', HOST.replace('192.0.2.1', '1f4712db-ea17.local'), /not an IP address/],
    ['C19 any other name', HOST.replace('192.0.2.1', 'host.example.net'), /not an IP address, nor one label and .local/],
    ['an address with a prefix length', HOST.replace('192.0.2.1', '192.0.2.1/24'), /not an IP address/],
    ['the wildcard', HOST.replace('192.0.2.1', '0.0.0.0'), /unspecified/],
    ['IPv6’s wildcard', HOST.replace('192.0.2.1', '::'), /unspecified/],
    ['multicast', HOST.replace('192.0.2.1', '239.1.2.3'), /multicast/],
    ['broadcast', HOST.replace('192.0.2.1', '255.255.255.255'), /multicast/],
    ['a line cut off', HOST.slice(0, 30), /transport|priority|type|port|address/],
  ])('C18 is refused with the reason: %s', (_what, line, why) => {
    expect(() => parseCandidate(line as string)).toThrow(SallyportError)
    expect(() => parseCandidate(line as string)).toThrow(why)
  })

  it('C19 may have a name under .local, of one label of at most 63 characters, where its address belongs', () => {
    const uuid = '1F4712DB-ea17-4bcf-a596-105139dfd8bf.local'
    expect(readCandidate(HOST.replace('192.0.2.1', uuid))).toMatchObject({
      name: uuid.toLowerCase(),
      port: 5_000,
      type: 'host',
      foundation: '1',
    })
    expect(readCandidate(HOST.replace('192.0.2.1', `${'x'.repeat(63)}.local`))).toMatchObject({ name: `${'x'.repeat(63)}.local` })
  })

  it.each([
    'a.b.local',
    '.local',
    'local',
    'a.local.',
    `${'x'.repeat(64)}.local`,
    'a.localhost',
    '-a.local',
    'a*.local',
    'a.local.example.net',
  ])('C19 has no other name: %s', (name) => {
    expect(() => readCandidate(HOST.replace('192.0.2.1', name))).toThrow(/nor one label and .local/)
  })

  it('in any text is a candidate or a SallyportError', () => {
    const words = fc.array(fc.oneof(fc.string(), fc.constantFrom(...HOST.split(' '))), { maxLength: 12 }).map((all) => all.join(' '))
    fc.assert(
      fc.property(fc.oneof(fc.string(), words), (line) => {
        try {
          expect(parseCandidate(line).component).toBe(1)
        } catch (error) {
          expect(error).toBeInstanceOf(SallyportError)
          expect((error as SallyportError).code).toBe('ERR_CANDIDATE')
        }
      }),
      { numRuns: 2_000 },
    )
  })
})

describe('a candidate', () => {
  const address = fc.oneof(
    fc.tuple(fc.ipV4(), fc.integer({ min: 1, max: 65_535 })),
    fc.tuple(fc.ipV6(), fc.integer({ min: 1, max: 65_535 })),
  )
  const candidate = fc.record({
    type: fc.constantFrom<CandidateType>('host', 'srflx', 'prflx', 'relay'),
    address: address
      .map(([ip, port]) => Address.tryOf(ip, port))
      .filter((a): a is Address => a !== undefined && a.scope !== 'unspecified' && a.scope !== 'multicast'),
    foundation: fc.string({ minLength: 1, maxLength: 32, unit: fc.constantFrom(...'abcXYZ019+/') }),
    priority: fc.integer({ min: 1, max: 2 ** 31 - 1 }),
    component: fc.constant(1),
    related: fc.option(
      address.map(([ip, port]) => Address.tryOf(ip, port)).filter((a): a is Address => a !== undefined),
      { nil: undefined },
    ),
  })

  it('written and read is the same', () => {
    fc.assert(
      fc.property(candidate, (value) => {
        const read = parseCandidate(formatCandidate(value))
        expect({ ...read, address: read.address.key, related: read.related?.key }).toEqual({
          ...value,
          address: value.address.key,
          related: value.related?.key,
        })
      }),
    )
  })

  it('goes to a browser and comes back', () => {
    fc.assert(
      fc.property(candidate, (value) => {
        const init = toRTCIceCandidate(value, 'abcd')
        expect(init).toEqual({ candidate: formatCandidate(value), sdpMid: '0', sdpMLineIndex: 0, usernameFragment: 'abcd' })
        expect(fromRTCIceCandidate(JSON.parse(JSON.stringify(init))).address.key).toBe(value.address.key)
      }),
    )
    expect(toRTCIceCandidate(parseCandidate(HOST)).usernameFragment).toBeNull()
  })

  it('is read without the zone that its sender put there, which means nothing here: no two addresses of one', () => {
    const line = 'candidate:1 1 udp 1 fe80::1%eth0 5000 typ srflx raddr fe80::2%any-text-at-all rport 9'
    const read = parseCandidate(line)
    expect(read.address.key).toBe('[fe80::1]:5000')
    expect(read.related?.key).toBe('[fe80::2]:9')
  })

  it('is written without the zone of its link-local address, which means nothing elsewhere', () => {
    const local = { ...parseCandidate(HOST), address: Address.of('fe80::1%eth0', 5_000) }
    expect(formatCandidate(local)).toBe('candidate:1 1 udp 2130706431 fe80::1 5000 typ host')
  })
})
