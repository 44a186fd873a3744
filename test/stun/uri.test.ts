import { describe, expect, it } from 'vitest'
import { SallyportError } from '../../src/errors.ts'
import { formatServerUri, parseServerUri } from '../../src/stun/index.ts'

// RFC 7064 appendix A and RFC 7065 appendix A have the first of these tables.
it.each([
  ['stun:example.org', 'stun', 'example.org', 3478, undefined],
  ['stuns:example.org', 'stuns', 'example.org', 5349, undefined],
  ['stun:example.org:8000', 'stun', 'example.org', 8000, undefined],
  ['turn:example.org', 'turn', 'example.org', 3478, undefined],
  ['turns:example.org', 'turns', 'example.org', 5349, undefined],
  ['turn:example.org:8000', 'turn', 'example.org', 8000, undefined],
  ['turn:example.org?transport=udp', 'turn', 'example.org', 3478, 'udp'],
  ['turn:example.org?transport=tcp', 'turn', 'example.org', 3478, 'tcp'],
  ['turns:example.org?transport=tcp', 'turns', 'example.org', 5349, 'tcp'],
  ['turn:192.0.2.7:443?transport=tcp', 'turn', '192.0.2.7', 443, 'tcp'],
  ['STUN:Example.ORG', 'stun', 'example.org', 3478, undefined],
  ['turn:example.org?Transport=UDP', 'turn', 'example.org', 3478, 'udp'],
  ['stun:192.0.2.1', 'stun', '192.0.2.1', 3478, undefined],
  ['stun:[2001:db8::1]', 'stun', '2001:db8::1', 3478, undefined],
  ['stun:[2001:DB8:0::1]:99', 'stun', '2001:db8::1', 99, undefined],
  ['turns:[2001:db8::1]:443?transport=tcp', 'turns', '2001:db8::1', 443, 'tcp'],
  ['stun:[fe80::1%25eth0]:7', 'stun', 'fe80::1%eth0', 7, undefined],
  ['stun:localhost', 'stun', 'localhost', 3478, undefined],
  ['stun:example.org.', 'stun', 'example.org.', 3478, undefined],
  ['stun:my_host.lan', 'stun', 'my_host.lan', 3478, undefined],
] as const)('RFC 7064 3.1, RFC 7065 3.1: reads %s', (text, scheme, host, port, transport) => {
  expect(parseServerUri(text)).toEqual({ scheme, host, port, transport })
})

it.each([
  ['', /begin with stun:/],
  ['example.org', /begin with stun:/],
  ['http://example.org', /begin with stun:/],
  ['toString:example.org', /begin with stun:/],
  ['stun:', /host is missing/],
  ['stun::3478', /host is missing/],
  ['turn:?transport=udp', /host is missing/],
  ['stun://example.org', /no slashes.*write stun:example\.org/],
  ['turn://relay.example.org?transport=tcp', /write turn:relay\.example\.org\?transport=tcp/],
  ['stun:example.org/', /only a host/],
  ['stun:example.org#x', /only a host/],
  ['stun:exa mple.org', /only a host/],
  ['turn:user:pass@example.org', /credentials/],
  ['stun:2001:db8::1', /brackets/],
  ['stun:[2001:db8::1', /brackets/],
  ['stun:[2001:db8::1]x', /brackets/],
  ['stun:[192.0.2.1]', /not an IPv6 address/],
  ['stun:[2001:db8::g]', /not an IPv6 address/],
  ['stun:192.0.2.256', /not an IPv4 address/],
  ['stun:1.2.3', /not an IPv4 address/],
  ['stun:example..org', /not a host name/],
  ['stun:-example.org', /not a host name/],
  [`stun:${'a'.repeat(64)}.org`, /not a host name/],
  ['stun:example.org:', /port must be/],
  ['stun:example.org:0', /port must be/],
  ['stun:example.org:65536', /port must be/],
  ['stun:example.org:+80', /port must be/],
  ['stun:example.org:http', /port must be/],
  ['stun:example.org?transport=udp', /has no query/],
  ['turn:example.org?transport=sctp', /only be \?transport=/],
  ['turn:example.org?transport=', /only be \?transport=/],
  ['turn:example.org?', /only be \?transport=/],
  ['turn:example.org?transport=udp&x=1', /only be \?transport=/],
])('refuses %j and says why', (text, reason) => {
  expect(() => parseServerUri(text)).toThrow(reason)
  try {
    parseServerUri(text)
  } catch (error) {
    expect(error).toBeInstanceOf(SallyportError)
    expect((error as SallyportError).code).toBe('ERR_URI')
  }
})

describe('a URI written again', () => {
  const texts = ['stun:example.org', 'stun:[2001:db8::1]:99', 'turns:example.org?transport=tcp', 'turn:192.0.2.7:443?transport=udp']
  it.each(texts)('is %s', (text) => {
    expect(formatServerUri(parseServerUri(text))).toBe(text)
  })

  it('leaves out the default port', () => {
    expect(formatServerUri(parseServerUri('stuns:example.org:5349'))).toBe('stuns:example.org')
  })
})
