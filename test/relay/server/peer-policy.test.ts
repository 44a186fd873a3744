import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Address, type Family, Prefix } from '../../../src/net/index.ts'
import { canonical, PeerPolicy, type PeerPolicyOptions } from '../../../src/relay/server/peer-policy.ts'

function policyOf(options: Partial<PeerPolicyOptions> = {}): PeerPolicy {
  return new PeerPolicy({ allow: [], deny: [], private: false, relayed: () => false, ...options })
}

const judge = (policy: PeerPolicy, ip: string, port = 5000): string => policy.judge(Address.of(ip, port))
const ranges = (...texts: string[]): Prefix[] => texts.map((text) => Prefix.parse(text))

const DENIED = [
  '0.0.0.0',
  '0.1.2.3',
  '10.0.0.1',
  '100.64.0.1',
  '127.0.0.1',
  '127.255.255.254',
  '169.254.169.254',
  '172.16.0.1',
  '172.31.255.255',
  '192.0.0.1',
  '192.0.2.1',
  '192.88.99.1',
  '192.168.0.1',
  '198.18.0.1',
  '198.51.100.1',
  '203.0.113.1',
  '224.0.0.1',
  '239.255.255.255',
  '240.0.0.1',
  '255.255.255.255',
  '::',
  '::1',
  '::127.0.0.1',
  '::10.0.0.1',
  '::ffff:127.0.0.1',
  '::ffff:10.0.0.1',
  '::ffff:a9fe:a9fe',
  '::ffff:0:127.0.0.1',
  '::ffff:0:192.168.1.1',
  '64:ff9b::127.0.0.1',
  '64:ff9b::169.254.169.254',
  '64:ff9b:1::1',
  '100::1',
  '100:0:0:1::1',
  '2001:2::1',
  '2001:10::1',
  '2001:2f:ffff::1',
  '3fff::1',
  '5f00::1',
  '2001::1',
  '2001:0:4136:e378:8000:63bf:3fff:fdd2',
  '2001:db8::1',
  '2002:7f00:1::',
  '2002:a00:1::1',
  '2002:801:203::1',
  'fc00::1',
  'fdff::1',
  'fe80::1',
  'febf::1',
  'fec0::1',
  'ff02::1',
  'ff0e::1',
]
const PERMITTED = ['8.8.8.8', '1.1.1.1', '100.63.255.255', '100.128.0.0', '172.32.0.1', '192.0.1.1', '198.20.0.1', '223.255.255.255']
const PERMITTED_6 = ['2600::1', '2a00:1450::8', '2001:200::1', '64:ff9b::8.8.8.8', '::ffff:8.8.8.8', 'fbff::1']

describe('a peer', () => {
  it.each(DENIED)('RFC 8656 21, RFC 6156 9.1: %s is denied by default', (ip) => {
    expect(judge(policyOf(), ip)).toBe('denied')
  })

  it.each([...PERMITTED, ...PERMITTED_6])('%s is permitted', (ip) => {
    expect(judge(policyOf(), ip)).toBe('permitted')
  })

  it.each(['0.0.0.0', '224.0.0.1', '255.255.255.255', '240.1.1.1', '::', 'ff02::1', '2001::1', '2002:801:203::1', '::ffff:0.0.0.0'])(
    'that is nowhere, a group or a tunnel, %s, is permitted by no option',
    (ip) => {
      expect(judge(policyOf({ private: true, allow: ranges('0.0.0.0/0', '::/0') }), ip)).toBe('denied')
    },
  )

  it.each(['127.0.0.1', '10.0.0.1', '169.254.1.1', '203.0.113.5', 'fd00::1', '2001:db8::1', '::1', '64:ff9b::10.0.0.1'])(
    'in a private range, %s, is permitted where labs are',
    (ip) => {
      expect(judge(policyOf({ private: true }), ip)).toBe('permitted')
    },
  )

  it('that is denied by the operator is denied in every spelling', () => {
    const policy = policyOf({ deny: ranges('8.8.8.0/24') })
    for (const ip of ['8.8.8.8', '::ffff:8.8.8.8', '::8.8.8.8', '::ffff:0:8.8.8.8', '64:ff9b::808:808'])
      expect(judge(policy, ip)).toBe('denied')
    expect(judge(policy, '8.8.9.8')).toBe('permitted')
  })

  it('that is allowed by the operator is permitted, and so are not its neighbours', () => {
    const policy = policyOf({ allow: ranges('10.1.0.0/16'), deny: ranges('0.0.0.0/0') })
    expect([judge(policy, '10.1.2.3'), judge(policy, '10.2.2.3'), judge(policy, '8.8.8.8')]).toEqual(['permitted', 'denied', 'denied'])
  })

  it('whose range of IPv6 is allowed is still judged by the IPv4 address in it', () => {
    const policy = policyOf({ allow: ranges('::/0') })
    expect([judge(policy, 'fd00::1'), judge(policy, '64:ff9b::127.0.0.1'), judge(policy, '::127.0.0.1')]).toEqual([
      'permitted',
      'denied',
      'denied',
    ])
  })
})

describe("this machine's own addresses", () => {
  const OWN = Address.of('9.9.9.9', 0)
  const live = Address.of('9.9.9.9', 50_000)

  function ownPolicy(options: Partial<PeerPolicyOptions> = {}): PeerPolicy {
    const policy = policyOf({ relayed: (address) => address.equals(live), ...options })
    policy.setOwn([OWN, Address.of('127.0.0.1', 0), Address.of('2600::9', 0)], [3478, 5349])
    return policy
  }

  it('are denied, but for relayed addresses that somebody has', () => {
    expect(ownPolicy().judge(live)).toBe('relayed')
    expect([judge(ownPolicy(), '9.9.9.9', 50_001), judge(ownPolicy(), '2600::9', 50_000)]).toEqual(['denied', 'denied'])
  })

  it('are denied also where they are allowed by range, and within other addresses', () => {
    const policy = ownPolicy({ allow: ranges('0.0.0.0/0', '::/0') })
    for (const ip of ['9.9.9.9', '::9.9.9.9', '64:ff9b::9.9.9.9', '127.0.0.1']) expect(judge(policy, ip)).toBe('denied')
  })

  it('are permitted in labs, but for the listeners', () => {
    const policy = ownPolicy({ private: true })
    expect([judge(policy, '127.0.0.1', 5000), judge(policy, '9.9.9.9', 5000)]).toEqual(['permitted', 'permitted'])
    expect([judge(policy, '127.0.0.1', 3478), judge(policy, '9.9.9.9', 5349), judge(policy, '::9.9.9.9', 3478)]).toEqual([
      'denied',
      'denied',
      'denied',
    ])
  })

  it('change the version of the policy, by which kept verdicts are known to be old', () => {
    const policy = policyOf()
    const before = policy.version
    policy.setOwn([OWN], [])
    expect(policy.version).not.toBe(before)
  })
})

describe('the canonical form', () => {
  it.each([
    ['::ffff:1.2.3.4', '1.2.3.4'],
    ['::1.2.3.4', '1.2.3.4'],
    ['::ffff:0:1.2.3.4', '1.2.3.4'],
    ['64:ff9b::1.2.3.4', '1.2.3.4'],
    ['2002:102:304::77', '1.2.3.4'],
    ['::1', '::1'],
    ['::', '0.0.0.0'],
    ['2001::1.2.3.4', '2001::102:304'],
    ['64:ff9b:1::1.2.3.4', '64:ff9b:1::102:304'],
    ['1.2.3.4', '1.2.3.4'],
  ])('of %s is %s, with its port', (ip, expected) => {
    expect(canonical(Address.of(ip, 77)).key).toBe(Address.of(expected, 77).key)
  })
})

function numberOf(address: Address): bigint {
  return address.bytes.reduce((value, byte) => (value << 8n) | BigInt(byte), 0n)
}

it.each<[Family, number]>([
  [4, 32],
  [6, 128],
])('ranges of IPv%i compare as numbers do', (family, bits) => {
  const bytes = fc.uint8Array({ minLength: bits / 8, maxLength: bits / 8 })
  // Within IPv6, what is IPv4-mapped is IPv4.
  const made = bytes.map((ip) => Address.fromBytes(family === 6 ? Uint8Array.of(0x26, ...ip.subarray(1)) : ip, 1))
  fc.assert(
    fc.property(made, made, fc.integer({ min: 0, max: bits }), fc.boolean(), (range, other, length, near) => {
      // An address of nowhere in particular hits a narrow range never: half of them differ from it in the last bits only.
      const shift = BigInt(bits - length)
      const address = near ? flipped(range, numberOf(other) % BigInt(bits + 1)) : other
      expect(Prefix.around(range, length).contains(address)).toBe(numberOf(range) >> shift === numberOf(address) >> shift)
    }),
    { numRuns: 2000 },
  )
})

/** The address with the bit at this place, from the end, changed; the same one for a place outside. */
function flipped(address: Address, place: bigint): Address {
  const at = address.bytes.length - 1 - Number(place >> 3n)
  // The first byte keeps it from being IPv4-mapped.
  if (at < 1) return address
  const bytes = address.bytes.slice()
  bytes[at] = bytes[at]! ^ (1 << Number(place & 7n))
  return Address.fromBytes(bytes, 1)
}
