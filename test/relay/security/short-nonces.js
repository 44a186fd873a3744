/** A relay by `createRelay` in a process of its own, for what `sallyport serve` has no option for: nonces of the lifetime given, in milliseconds. */
import { nodeNetwork } from '../../../dist/index.js'
import { createRelay } from '../../../dist/relay/index.js'

const { udp } = (
  await createRelay({
    network: nodeNetwork(),
    port: 0,
    addresses: ['127.0.0.1'],
    users: { alice: 'secret' },
    peers: { private: true },
    nonceLifetime: Number(process.argv[2]),
  })
).addresses
console.log(JSON.stringify({ listening: udp.map(({ key }) => key), tcp: [], tls: [] }))
