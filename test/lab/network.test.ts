import { createLab, type Lab } from '../../src/lab/index.ts'
import { type NetworkPair, networkSuite } from '../net/network-suite.ts'

function pairOn(lab: Lab, ips: (lab: Lab) => Omit<NetworkPair, 'until' | 'deadPort'>): NetworkPair {
  return { ...ips(lab), until: (promise) => lab.until(promise, { within: 60_000 }), deadPort: 9 }
}

networkSuite(
  'a lab with two public hosts',
  () => {
    return pairOn(createLab({ delay: 1 }), (lab) => {
      const [a, b] = [lab.host('a'), lab.host('b')]
      return { a, b, ipOfA: a.addresses[0]!.ip, ipOfB: b.addresses[0]!.ip }
    })
  },
  // There is none on the public internet.
  false,
)

networkSuite('a lab with two hosts on one LAN', () => {
  return pairOn(createLab(), (lab) => {
    const behind = lab.router('home')
    const [a, b] = [lab.host('a', { behind }), lab.host('b', { behind })]
    return { a, b, ipOfA: a.addresses[0]!.ip, ipOfB: b.addresses[0]!.ip }
  })
})

networkSuite('a lab with one host on its loopback', () => {
  return pairOn(createLab(), (lab) => {
    const host = lab.host('a')
    return { a: host, b: host, ipOfA: '127.0.0.1', ipOfB: '127.0.0.1' }
  })
})
