// @ts-check
/** How fast a server makes allocations, and what it keeps for one that nobody uses. */
import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { bound, TurnClient } from './turn.js'

/** Requests on their way at a time. */
const AT_ONCE = 32
const SETTLING = 1_500
const TICKS_A_SECOND = 100
const PAGE = 4_096

/** Resident bytes. @param {number} pid */
const resident = (pid) => Number(readFileSync(`/proc/${pid}/statm`, 'utf8').split(' ')[1]) * PAGE

/** Seconds of processor time. @param {number} pid */
function used(pid) {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? []
  return (Number(fields[11]) + Number(fields[12])) / TICKS_A_SECOND
}

/**
 * Each from a port of its own, 401 first. The sockets are there before the clock starts.
 * @param {import('./contestants.js').Contestant} contestant @param {number} count
 * @returns {Promise<{ rate: number, cpu: number, bytes: number }>} allocations a second, microseconds of the server and bytes for each
 */
export async function allocateMany({ pids: [pid = 0], servers: [server = 0] }, count) {
  const sockets = await Promise.all(Array.from({ length: count }, () => bound()))
  const waiting = sockets.map((socket) => new TurnClient(socket, server))
  const before = resident(pid)
  const usedBefore = used(pid)
  const began = performance.now()
  await Promise.all(
    Array.from({ length: AT_ONCE }, async () => {
      for (let client = waiting.pop(); client !== undefined; client = waiting.pop()) await client.allocate()
    }),
  )
  const seconds = (performance.now() - began) / 1e3
  const cpu = used(pid) - usedBefore
  await sleep(SETTLING)
  const bytes = resident(pid) - before
  for (const socket of sockets) socket.close()
  return { rate: count / seconds, cpu: (cpu * 1e6) / count, bytes: bytes / count }
}
