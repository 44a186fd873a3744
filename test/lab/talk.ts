/** A socket that remembers what it heard, for the lab's own tests. */
import type { LabHost } from '../../src/lab/index.ts'
import type { Address, BindOptions, DatagramSocket, SendFailure } from '../../src/net/index.ts'

export interface Heard {
  readonly text: string
  readonly from: Address
  readonly time: number
}

export interface Talker {
  readonly host: LabHost
  readonly socket: DatagramSocket
  /** Where others reach it without a NAT: the host's first address with the socket's port. */
  readonly address: Address
  readonly heard: Heard[]
  readonly failures: SendFailure[]
  readonly lost: Error[]
  drained: number
}

export async function open(host: LabHost, options: Partial<BindOptions> = {}): Promise<Talker> {
  const family = options.family ?? 4
  const socket = await host.bind({ family, ...options })
  const own = host.addresses.find((address) => address.family === family)
  const address = own === undefined || socket.local.scope !== 'unspecified' ? socket.local : own.withPort(socket.local.port)
  const talker: Talker = { host, socket, address, heard: [], failures: [], lost: [], drained: 0 }
  socket.handle({
    datagram: (data, from) => talker.heard.push({ text: new TextDecoder().decode(data), from, time: host.clock.now() }),
    sendFailed: (_to, failure) => talker.failures.push(failure),
    drained: () => talker.drained++,
    lost: (reason) => talker.lost.push(reason),
  })
  return talker
}

export function say(from: Talker, to: Address, text: string, report = false): boolean {
  return from.socket.send(new TextEncoder().encode(text), to, report)
}

export function texts(talker: Talker): string[] {
  return talker.heard.map(({ text }) => text)
}
