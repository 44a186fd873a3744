/** Whether two sockets of this machine and this Node.js can have one port (SO_REUSEPORT, by which Linux spreads what comes in). */
import type { DatagramSocket } from '../socket.ts'
import { bindDatagramSocket } from './datagram-socket.ts'

let answer: Promise<boolean> | undefined

/** Found out by doing it, once: Node.js knows the option since 22.12 and 23.1, and passes over it before; not every system has it. */
export function canReusePort(): Promise<boolean> {
  answer ??= bindTwice()
  return answer
}

async function bindTwice(): Promise<boolean> {
  const sockets: DatagramSocket[] = []
  try {
    for (const port of [() => 0, () => sockets[0]?.local.port ?? 0]) {
      sockets.push(await bindDatagramSocket({ family: 4, ip: '127.0.0.1', port: port(), reusePort: true }))
    }
    return true
  } catch {
    return false
  } finally {
    for (const socket of sockets) socket.close()
  }
}
