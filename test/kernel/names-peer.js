// @ts-check
/**
 * Two programs for names.test.ts. `node names-peer.js answer <own IP> <interface> <name> <IP>` answers for a name until it is killed, and
 * prints a line once it listens; `node names-peer.js ask <own IP> <name>` prints what the built library is told.
 */
import { createSocket } from 'node:dgram'
import makeMulticastDns from 'multicast-dns'
import { Address } from '../../dist/net/address.js'
import { nodeNetwork } from '../../dist/net/node/index.js'

const [what, own = '', ...rest] = process.argv.slice(2)

if (what === 'answer') {
  const [device, name = '', data = ''] = rest
  const socket = own.includes(':')
    ? makeMulticastDns({
        type: 'udp6',
        ip: 'ff02::fb',
        interface: `::%${device}`,
        bind: '::',
        socket: createSocket({ type: 'udp6', reuseAddr: true, ipv6Only: true }),
      })
    : makeMulticastDns({ interface: own, bind: '0.0.0.0' })
  const type = data.includes(':') ? 'AAAA' : 'A'
  socket.on('query', ({ questions = [] }) => {
    if (questions.some((question) => question.name === name && question.type === type)) socket.respond([{ name, type, ttl: 120, data }])
  })
  socket.on('ready', () => console.log('listening'))
} else {
  const signal = AbortSignal.timeout(10_000)
  console.log(await nodeNetwork().dns.lookupLocal(rest[0] ?? '', { from: [Address.of(own, 0)], signal }))
}
