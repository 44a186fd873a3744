// @ts-check
/**
 * Knocks from outside at UDP ports, driven by JSON lines on standard input: `{ id, ip, port, within }` is answered by
 * `{ answer: id, from? }`, where `from` is who answered, as `ip port`, or missing when nobody did within so many milliseconds. Each knock has a socket
 * of its own, so that no state of an earlier one lets it through. `{ id, echo: { ip, port } }` has it answer knocks there itself.
 */
import { createSocket } from 'node:dgram'
import { createInterface } from 'node:readline'

/** Milliseconds between two datagrams of one knock. */
const AGAIN = 100

createInterface({ input: process.stdin })
  .on('line', (line) => obey(JSON.parse(line)))
  .once('close', () => process.exit())

/** @param {{ id: number, ip: string, port: number, within: number, echo?: { ip: string, port: number } }} order */
function obey({ id, ip, port, within, echo }) {
  if (echo === undefined) knock(id, ip, port, within)
  else answerAt(id, echo.ip, echo.port)
}

/** @param {number} id @param {string} ip @param {number} port @param {number} within */
function knock(id, ip, port, within) {
  const socket = createSocket(ip.includes(':') ? 'udp6' : 'udp4')
  // Refused or unreachable is no answer either.
  const send = () => socket.send('knock', port, ip, () => {})
  const again = setInterval(send, AGAIN)
  /** @param {string} [from] */
  const end = (from) => {
    clearInterval(again)
    clearTimeout(timer)
    socket.close()
    print({ answer: id, from })
  }
  const timer = setTimeout(end, within)
  socket.on('error', () => {})
  socket.once('message', (_, { address, port: from }) => end(`${address} ${from}`))
  send()
}

/** @param {number} id @param {string} ip @param {number} port */
function answerAt(id, ip, port) {
  const socket = createSocket(ip.includes(':') ? 'udp6' : 'udp4')
  socket.on('message', (data, from) => socket.send(data, from.port, from.address))
  socket.bind(port, ip, () => print({ answer: id }))
}

/** @param {object} line */
function print(line) {
  process.stdout.write(`${JSON.stringify(line)}\n`)
}
