import { nodeNetwork } from '../../../src/net/node/index.ts'
import { requires } from '../../requirements.ts'
import { networkSuite } from '../network-suite.ts'

networkSuite(
  'the operating system',
  () => {
    const network = nodeNetwork()
    // Nobody has listened on tcpmux since 1988.
    return { a: network, b: network, ipOfA: '127.0.0.1', ipOfB: '127.0.0.1', until: (promise) => promise, deadPort: 1 }
  },
  requires({ also: { 'multicast on loopback': process.platform === 'linux' } }),
)
