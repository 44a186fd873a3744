/** What tests of a server process start and open: closed, or killed, after each of them. */

import { afterEach } from 'vitest'
import type { DatagramSocket } from '../../../src/net/index.ts'
import type { Program } from '../peers.ts'
import type { TurnClient } from './turn-client.ts'

export interface Resources {
  readonly programs: Program[]
  readonly clients: TurnClient[]
  readonly peers: DatagramSocket[]
}

export function resources(): Resources {
  const taken: Resources = { programs: [], clients: [], peers: [] }
  afterEach(async () => {
    for (const client of taken.clients.splice(0)) client.close()
    for (const peer of taken.peers.splice(0)) peer.close()
    for (const program of taken.programs.splice(0)) {
      program.kill('SIGKILL')
      await program.exit
    }
  })
  return taken
}
