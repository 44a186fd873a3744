/**
 * One of many in a room, who all talk to each other directly: one traversal, a session for each of the others.
 *
 *     node examples/room/peer.js NAME [--relay ADDRESS:PORT] [--patience SECONDS] [--loopback] [stun:HOST:PORT …]
 *
 * Start relay.js before. What is typed goes to everybody; /leave leaves the room and /join comes back; Ctrl+C, or the end of the input,
 * leaves for good. Between two homes name a STUN server; on one machine say --loopback. Nothing is encrypted: this is an example.
 */
import { createConnection } from 'node:net'
import { createInterface } from 'node:readline'
import { parseArgs } from 'node:util'
import { createTraversal } from 'sallyport'

const text = { type: 'string' }
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { relay: { ...text, default: '127.0.0.1:7700' }, patience: { ...text, default: '15' }, loopback: { type: 'boolean' } },
})
const [name = 'nobody', ...servers] = positionals
const traversal = await createTraversal({ servers, hosts: { loopback: values.loopback ?? false } })
const sessions = new Map() // name → session, of everybody who was ever here
let room = [] // who is in it, by what the relay says
let inside = true
let relay
reach()

function reach() {
  const [address, port] = values.relay.split(':')
  relay = createConnection(Number(port), address)
  relay.on('error', (error) => console.log(`The relay cannot be reached: ${error.message}`))
  relay.on('close', () => setTimeout(reach, 1_000).unref()) // paths live on without it
  relay.on('connect', () => {
    if (inside) tell({ join: name })
    // The network may be another one since: better ask than wait until the paths are found dead.
    for (const session of sessions.values()) session.restart()
  })
  const lines = createInterface({ input: relay })
  lines.on('error', () => {}) // the same
  lines.on('line', (line) => {
    const { names, from, signal, refused } = JSON.parse(line)
    if (refused !== undefined) leave(refused)
    else if (from !== undefined) sessions.get(from)?.signal(signal)
    else if (inside) follow(names.filter((other) => other !== name))
  })
}

function tell(message) {
  relay.write(`${JSON.stringify(message)}\n`) // may be lost with the relay: signals are given again
}

/** Everybody who is here is somebody to talk to. Who is not may be back soon, if it is the relay that fell over: a path stays. */
function follow(names) {
  room = names
  for (const [other, session] of sessions) if (!room.includes(other) && !session.path) session.close()
  for (const other of room) if (!['connecting', 'connected'].includes(sessions.get(other)?.state)) meet(other)
}

function meet(other) {
  const session = traversal.connect({ peer: other, signal: AbortSignal.timeout(Number(values.patience) * 1_000) })
  session.ready.catch((reason) => reason.name === 'TimeoutError' && console.log(`Gave up on ${other}. ${session.explain()}`))
  if (sessions.get(other) === session) return // opened again, with the listeners it has
  sessions.set(other, session)
  session.on('signal', (signal) => tell({ to: other, signal }))
  session.on('message', (data) => console.log(`${other}> ${Buffer.from(data)}`))
  session.on('state', (state) => {
    if (state === 'connecting' && !room.includes(other)) {
      console.log(`${other} is gone`) // without a word
      session.close()
    }
    if (state !== 'connected') return
    const { kind, family, remote } = session.path
    console.log(`${other} is here: ${kind} over IPv${family}, ${remote.ip} port ${remote.port}`)
  })
  session.on('error', (error) => {
    if (error.code === 'ERR_PEER_CLOSED') console.log(`${other} left`)
    else console.log(error.code === 'ERR_NO_PATH' ? `${error.message}. ${error.report}` : error)
  })
}

async function leave(why) {
  console.log(why)
  inside = false
  for (const session of sessions.values()) await session.close() // which tells the others, by the relay
  tell({ leave: true })
}

function comeBack() {
  inside = true
  tell({ join: name })
}

const input = createInterface({ input: process.stdin })
process.once('SIGINT', () => input.close())
input.on('line', (line) => {
  if (line === '/leave') leave('You left; /join comes back')
  else if (line === '/join') inside || comeBack()
  else for (const session of sessions.values()) if (session.path) session.send(Buffer.from(line))
})
input.on('close', async () => {
  await leave('You left for good')
  await traversal.close()
  relay.end()
  process.stdin.destroy()
})
