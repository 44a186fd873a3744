// @ts-check
/**
 * The far ends of `scale.js`: as many traversals as the hub has sessions, each with a socket of its own on loopback, in one process.
 * They send back what they get. Signals go through the channel to the hub: `[index, signal]`.
 */
import { createTraversal } from '../../dist/index.js'
import { nodeNetwork } from '../../dist/net/node/index.js'

const count = Number(process.argv[2])
const network = nodeNetwork()
// Ten thousand of them looking for changes of the same interfaces every two seconds would measure nothing but that.
const interfaces = { list: () => network.interfaces.list(), watch: () => () => {} }
const hosts = /** @type {import('../../dist/index.js').HostPolicy} */ ({
  loopback: true,
  families: [4],
  accept: ({ internal }) => internal,
})

/** @type {import('../../dist/index.js').Session[]} */
const sessions = []
process.on('message', (/** @type {[number, import('../../dist/index.js').Signal]} */ [index, signal]) => sessions[index]?.signal(signal))
process.on('disconnect', () => process.exit())

for (let index = 0; index < count; index++) {
  const traversal = await createTraversal({ network: { ...network, interfaces }, hosts })
  const session = traversal.connect({ peer: 'hub' })
  session.on('signal', (signal) => void process.send?.([index, signal]))
  session.on('message', (data) => void session.send(data))
  sessions.push(session)
}
process.send?.('open')
