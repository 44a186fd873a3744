import { describe, expect, it } from 'vitest'
import { describeMapping, type MappingFacts } from '../src/traversal-status.ts'

const ASKED: MappingFacts = {
  internal: '192.168.1.2:4000',
  router: '192.168.1.1',
  state: 'asked',
  protocol: undefined,
  external: undefined,
  proven: undefined,
  reach: undefined,
  failure: undefined,
}
const MAPPED: MappingFacts = { ...ASKED, state: 'mapped', protocol: 'pcp', external: '203.0.113.5:4000', reach: 'public' }

describe('a port mapping in words', () => {
  it.each<[string, MappingFacts, string]>([
    ['no router yet', { ...ASKED, router: undefined }, '192.168.1.2:4000: no port mapping: no router is known yet'],
    ['no answer yet', ASKED, '192.168.1.2:4000: no port mapping: 192.168.1.1 has not answered yet'],
    ['a refusal', { ...ASKED, state: 'none', failure: 'it says no' }, '192.168.1.2:4000: no port mapping: it says no'],
    [
      'a proof',
      { ...MAPPED, proven: '203.0.113.5:4000' },
      '192.168.1.2:4000: mapped to 203.0.113.5:4000 by pcp of 192.168.1.1, proven: packets from outside come in',
    ],
    [
      'a proof elsewhere',
      { ...MAPPED, external: '100.64.0.9:4000', proven: '203.0.113.5:4000' },
      '192.168.1.2:4000: mapped to 100.64.0.9:4000 by pcp of 192.168.1.1, proven: packets from outside come in at 203.0.113.5:4000',
    ],
    [
      'a trial',
      MAPPED,
      '192.168.1.2:4000: mapped to 203.0.113.5:4000 by pcp of 192.168.1.1, on trial: nothing has come in from outside yet',
    ],
    [
      'a pinhole',
      { ...MAPPED, internal: '[2001:db8::2]:4000', external: '[2001:db8::2]:4000', router: 'fe80::1%eth0' },
      '[2001:db8::2]:4000: open by pcp of fe80::1%eth0, on trial: nothing has come in from outside yet',
    ],
  ])('tells %s', (_, mapping, text) => {
    expect(describeMapping(mapping)).toBe(text)
  })

  it.each<[MappingFacts['reach'], string]>([
    ['private', 'another NAT stands behind it'],
    ['shared', 'a carrier’s (RFC 6598)'],
    ['other', 'servers see us at another address'],
    ['untold', 'does not tell its address'],
  ])('says of a trial why it may fail: %s', (reach, why) => {
    expect(describeMapping({ ...MAPPED, reach })).toContain(why)
    expect(describeMapping({ ...MAPPED, reach, proven: '203.0.113.5:4000' })).not.toContain(why)
  })
})
