/**
 * Two terminals that talk, wherever they are:
 *
 *     node examples/chat/chat.js [--loopback] [stun:HOST:PORT …]
 *
 * Run it in both. Each prints a code: paste it into the other one. From then on what is typed here is read there. Between two homes
 * name a STUN server, the same or another one on each side; on one machine say --loopback. Nothing is encrypted: this is an example.
 */
import { createInterface } from 'node:readline'
import { createTraversal } from 'sallyport'

const BYE = '/bye'
const servers = process.argv.slice(2).filter((argument) => argument.startsWith('stun:'))
const hosts = { loopback: process.argv.includes('--loopback') }

console.log('Looking for addresses at which this machine can be reached …')
const traversal = await createTraversal({ servers, hosts })
const session = traversal.connect({ peer: 'the other terminal' })

// A person carries one signal each way, so it should hold everything: wait until the servers have answered.
let mine
session.on('signal', (signal) => (mine = signal))
await traversal.gathered
await new Promise(setImmediate)
console.log(`Give this code to the other side:\n\n${toCode(mine)}\n\nPaste the code of the other side here:`)

session.on('path', ({ kind, remote, rtt }) => {
  console.log(`Connected: ${kind}, to ${remote.ip} port ${remote.port}, ${rtt.toFixed(1)} ms. Type, or ${BYE} to leave.`)
})
session.on('message', (data) => {
  const text = Buffer.from(data).toString()
  if (text === BYE) console.log('The other side left.')
  else console.log(`> ${text}`)
  if (text === BYE) leave()
})
session.on('error', (error) => {
  console.log(error.message)
  leave()
})

const input = createInterface({ input: process.stdin })
input.on('close', leave)
input.on('line', (line) => {
  if (line === BYE) leave()
  else if (session.path !== undefined) session.send(Buffer.from(line))
  else if (session.signal(fromCode(line))) console.log('Checking every way to the other side …')
  else console.log('That is not a code. Paste the code of the other side here:')
})

async function leave() {
  if (session.path !== undefined) session.send(Buffer.from(BYE))
  await traversal.close() // and with it the session
  process.stdin.destroy()
}

function toCode(signal) {
  return Buffer.from(JSON.stringify(signal)).toString('base64url')
}

function fromCode(code) {
  try {
    return JSON.parse(Buffer.from(code.trim(), 'base64url').toString())
  } catch {
    return undefined // which is no signal
  }
}
