// @ts-check
/**
 * How fast a server makes allocations, and what it keeps for one that nobody uses. The client is written to cost less than any server:
 * one key for all, the system's own HMAC.
 */
import { createHash, createHmac, randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { Attribute, Message, MessageWriter, Method } from '../../dist/stun/index.js'
import { boundAnywhere, LOOPBACK, UDP, USER } from './turn.js'

/** Requests on their way at a time. */
const AT_ONCE = 32
/** After which something is wrong: no datagram gets lost here. */
const TIMEOUT = 30_000
const SETTLING = 1_500
const TICKS_A_SECOND = 100
const PAGE = 4_096

/** RFC 8489 9.2.2. */
const KEY = createHash('md5').update(`${USER.username}:${USER.realm}:${USER.password}`).digest()
const INTEGRITY = 24
const writer = new MessageWriter()

const start = () => writer.start('request', Method.Allocate, randomBytes(12)).uint32(Attribute.RequestedTransport, UDP)

/** @param {Message} challenge a 401 or 438 */
function authenticated(challenge) {
  const nonce = challenge.value(Attribute.Nonce)
  if (nonce === undefined) throw new Error(`refused: ${challenge.errorCode()?.code} ${challenge.errorCode()?.reason}`)
  const message = start()
    .text(Attribute.Username, USER.username)
    .text(Attribute.Realm, USER.realm)
    .bytes(Attribute.Nonce, nonce)
    .bytes(Attribute.MessageIntegrity, new Uint8Array(INTEGRITY - 4))
    .finish()
  const covered = message.length - INTEGRITY
  message.set(createHmac('sha1', KEY).update(message.subarray(0, covered)).digest(), covered + 4)
  return message.slice()
}

/** Resident bytes. @param {number} pid */
const resident = (pid) => Number(readFileSync(`/proc/${pid}/statm`, 'utf8').split(' ')[1]) * PAGE

/** Seconds of processor time. @param {number} pid */
function used(pid) {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? []
  return (Number(fields[11]) + Number(fields[12])) / TICKS_A_SECOND
}

/**
 * Each from a port of its own, 401 first. The sockets are there before the clock starts, and stay: a port that comes again has an
 * allocation already.
 * @param {import('./contestants.js').Contestant} contestant @param {number} count
 * @returns {Promise<{ rate: number, cpu: number, bytes: number, close(): void }>} allocations a second; microseconds of the server and bytes
 *   for each
 */
export async function allocateMany({ pids: [pid = 0], servers: [server = 0] }, count) {
  const sockets = await Promise.all(Array.from({ length: count }, boundAnywhere))
  const before = resident(pid)
  const usedBefore = used(pid)
  const began = performance.now()
  await new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`${count - done} of ${count} allocations are missing`)), TIMEOUT)
    let next = 0
    let done = 0
    const more = () => {
      const socket = sockets[next++]
      if (socket === undefined) return
      socket.on('message', (data) => {
        const message = Message.read(data)
        if (message === undefined) return
        if (message.class === 'error') {
          try {
            socket.send(authenticated(message), server, LOOPBACK)
          } catch (error) {
            reject(error)
          }
        } else if (++done < count) more()
        else {
          clearTimeout(timer)
          resolve(undefined)
        }
      })
      socket.send(start().finish().slice(), server, LOOPBACK)
    }
    for (let i = 0; i < AT_ONCE; i++) more()
  })
  const seconds = (performance.now() - began) / 1e3
  const cpu = used(pid) - usedBefore
  await sleep(SETTLING)
  const bytes = resident(pid) - before
  const close = () => sockets.forEach((socket) => void socket.close())
  return { rate: count / seconds, cpu: (cpu * 1e6) / count, bytes: bytes / count, close }
}
