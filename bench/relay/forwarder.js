// @ts-check
/**
 * The least that a relay in Node.js can do, as a process: what comes to one socket leaves by the other one, to one peer and back to one
 * client. With `net` it does so through our own `DatagramSocket`; without, on node:dgram with a look-up that answers at once, no callbacks
 * and the same socket buffers as our server.
 * Takes `{ client, peer }`, ports to forward to from then on; says `{ server, relay }`, the ports it listens on.
 */
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { Address } from '../../dist/net/index.js'
import { nodeNetwork } from '../../dist/net/node/index.js'
import { LOOPBACK, literal } from './turn.js'

const LISTENER_BUFFER = 4 << 20
const RELAY_BUFFER = 1 << 20

let client = 0
let peer = 0
let clientAddress = Address.of(LOOPBACK, 1)
let peerAddress = clientAddress

/** @param {number} buffer */
async function open(buffer) {
  const socket = createSocket({ type: 'udp4', lookup: /** @type {any} */ (literal) })
  const listening = once(socket, 'listening')
  socket.bind(0, LOOPBACK)
  await listening
  socket.setRecvBufferSize(buffer)
  socket.setSendBufferSize(buffer)
  return socket
}

async function bare() {
  const near = await open(LISTENER_BUFFER)
  const far = await open(RELAY_BUFFER)
  near.on('message', (data) => far.send(data, peer, LOOPBACK))
  far.on('message', (data) => near.send(data, client, LOOPBACK))
  return { server: near.address().port, relay: far.address().port }
}

async function ours() {
  const network = nodeNetwork()
  const near = await network.bind({ family: 4, ip: LOOPBACK })
  const far = await network.bind({ family: 4, ip: LOOPBACK })
  const rest = { sendFailed: () => {}, drained: () => {}, lost: () => {} }
  near.handle({ datagram: (data) => void far.send(data, peerAddress), ...rest })
  far.handle({ datagram: (data) => void near.send(data, clientAddress), ...rest })
  return { server: near.local.port, relay: far.local.port }
}

process.on('message', (/** @type {{ client: number, peer: number }} */ told) => {
  client = told.client
  peer = told.peer
  clientAddress = Address.of(LOOPBACK, client)
  peerAddress = Address.of(LOOPBACK, peer)
  process.send?.({ told: true })
})
process.on('disconnect', () => process.exit())
process.send?.(await (process.argv[2] === 'net' ? ours() : bare()))
