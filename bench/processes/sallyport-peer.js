// @ts-check
/** Our peer of `connect-processes.js`, by the public API. */
import { createTraversal } from '../../dist/index.js'
import { conversation, mark, run, tell } from './peer.js'

run(async ({ stun }) => {
  const traversal = await createTraversal({ servers: [`stun:${stun}`] })
  const session = traversal.connect({ peer: 'peer' })
  const { start, receive } = conversation((data) => void session.send(data))
  session.on('signal', (signal) => {
    mark(`signal with ${signal.candidates.length} candidates`)
    tell(signal)
  })
  session.on('path', start)
  session.on('message', receive)
  return {
    send: (data) => void session.send(data),
    hear(signal) {
      mark(`heard of ${signal.candidates.length} candidates`)
      session.signal(signal)
    },
    close: () => traversal.close(),
  }
})
