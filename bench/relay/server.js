// @ts-check
/** Our relay in a process of its own, as a lab needs it: peers on loopback are allowed. Says `{ ports }` when it is there. */
import { nodeNetwork } from '../../dist/net/node/index.js'
import { createRelay } from '../../dist/relay/index.js'
import { LOOPBACK, USER } from './turn.js'

const [port = '0', reusePort = ''] = process.argv.slice(2)

await createRelay({
  network: nodeNetwork(),
  port: Number(port),
  addresses: [LOOPBACK],
  relayAddresses: [LOOPBACK],
  tcp: false,
  realm: USER.realm,
  users: { [USER.username]: USER.password },
  peers: { private: true },
  // All clients here have one address.
  strangers: { perSecond: 1e9, burst: 1e9 },
  quotas: { allocations: 100_000, allocationsPerUser: 100_000 },
  reusePort: reusePort !== '',
})
process.on('disconnect', () => process.exit())
process.send?.({ port: Number(port) })
