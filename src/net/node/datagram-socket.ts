/** UDP sockets of our own over node:dgram. A caller's socket is adopted in `adopted-socket.ts`. */
import { createSocket, type RemoteInfo, type Socket } from 'node:dgram'
import { networkInterfaces } from 'node:os'
import { SallyportError } from '../../errors.ts'
import { Address } from '../address.ts'
import type { InterfaceAddress } from '../interfaces.ts'
import type { BindOptions, DatagramHandler, DatagramSocket, MulticastOptions } from '../socket.ts'
import { Remotes } from './remotes.ts'
import { Sender } from './sender.ts'

/** Bytes asked for in the kernel by default, then less: Linux caps what it gives, others refuse what they do not give. */
const BUFFER_SIZES = [4 << 20, 1 << 20, 256 << 10]
/** What UPnP Device Architecture 2.0 1.1.2 asks for; everything else here stays on its link whatever this says. */
const MULTICAST_HOPS = 2
/** Linux tells twice what it gives: half is for its bookkeeping (socket(7), SO_RCVBUF). */
const TOLD_PER_GRANTED = process.platform === 'linux' ? 2 : 1

type Lookup = (host: string, options: unknown, done: (error: Error | null, address: string, family: number) => void) => void

/** Every address here is a literal already; the default look-up would put off each datagram to a later tick. */
const literal4: Lookup = (host, _options, done) => done(null, host, 4)
const literal6: Lookup = (host, _options, done) => done(null, host, 6)

/** Errors of a single datagram (a late ICMP message, a short shortage), after which the socket lives on. */
const PASSING = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'EHOSTDOWN',
  'EMSGSIZE',
  'ENOBUFS',
  'ENOMEM',
  'EINTR',
])

/** @returns where to bind, port included @throws TypeError or RangeError naming the option, SallyportError `ERR_BIND` */
export function checkedBindOptions(options: BindOptions): Address {
  const { family, ip, port = 0, buffer = 1 } = options
  if (family !== 4 && family !== 6) throw new TypeError(`family: must be 4 or 6, not ${String(family)}`)
  if (!Number.isInteger(port) || port < 0 || port > 0xffff) throw new RangeError(`port: must be an integer from 0 to 65535, not ${port}`)
  if (!Number.isSafeInteger(buffer) || buffer < 1) throw new RangeError(`buffer: must be a positive number of bytes, not ${buffer}`)
  const address = ip === undefined ? Address.any(family, port) : Address.tryOf(ip, port)
  if (address?.family === family) return address
  throw new SallyportError('ERR_BIND', `ip: not an IPv${family} address: ${ip}`)
}

export async function bindDatagramSocket(options: BindOptions): Promise<DatagramSocket> {
  const wanted = checkedBindOptions(options)
  const { family, ip = wanted.ip, port = 0, reusePort = false, buffer, multicast } = options
  // Node.js before 22.12 does not know reusePort and passes over it.
  const shared: { readonly reusePort?: boolean; readonly reuseAddr?: boolean } = {
    ...(reusePort ? { reusePort } : {}),
    ...(multicast === undefined ? {} : { reuseAddr: true }),
  }
  const socket =
    family === 4
      ? createSocket({ type: 'udp4', lookup: literal4 as never, ...shared })
      : createSocket({ type: 'udp6', ipv6Only: true, lookup: literal6 as never, ...shared })
  await new Promise<void>((resolve, reject) => {
    socket.once('error', (cause) => {
      socket.close()
      reject(new SallyportError('ERR_BIND', `no UDP socket at ${ip} port ${port}: ${cause.message}`, { cause }))
    })
    // Exclusive: workers of a cluster would otherwise share one socket, and each other's answers.
    socket.bind({ address: ip, port, exclusive: true }, resolve)
  })
  socket.removeAllListeners('error')
  if (multicast !== undefined) joinGroups(socket, multicast)
  enlargeBuffers(socket, buffer === undefined ? BUFFER_SIZES : [buffer, ...BUFFER_SIZES.filter((size) => size < buffer)])
  return own(socket, wanted.withPort(socket.address().port), grantedBuffer(socket))
}

/** @throws SallyportError `ERR_BIND`; the socket is closed then */
function joinGroups(socket: Socket, { on, groups = [] }: MulticastOptions): void {
  try {
    const link = on.address.family === 4 ? on.address.ip : `::%${zoneOf(on)}`
    socket.setMulticastInterface(link)
    socket.setMulticastTTL(MULTICAST_HOPS)
    for (const group of groups) socket.addMembership(group, link)
  } catch (cause) {
    socket.close()
    throw new SallyportError('ERR_BIND', `no multicast on ${on.name}: ${(cause as Error).message}`, { cause })
  }
}

/** Windows calls a zone by the number of its interface, which its link-local address has. */
function zoneOf({ name, address }: InterfaceAddress): string {
  if (address.zone !== '') return address.zone
  if (process.platform !== 'win32') return name
  const scoped = networkInterfaces()[name]?.find((info) => info.family === 'IPv6' && info.scopeid > 0)
  return scoped?.family === 'IPv6' ? String(scoped.scopeid) : name
}

/** In the measure of `BindOptions.buffer`; undefined when the system does not say. */
export function grantedBuffer(socket: Socket): number | undefined {
  try {
    return Math.floor(socket.getRecvBufferSize() / TOLD_PER_GRANTED)
  } catch {
    return undefined
  }
}

function enlargeBuffers(socket: Socket, sizes: readonly number[]): void {
  for (const set of [(size: number) => socket.setRecvBufferSize(size), (size: number) => socket.setSendBufferSize(size)]) {
    sizes.some((size) => {
      try {
        set(size)
        return true
      } catch {
        return false // the next size down, or the system's own default
      }
    })
  }
}

function own(socket: Socket, local: Address, buffer: number | undefined): DatagramSocket {
  const made = new NodeDatagramSocket(socket, local, buffer)
  socket.on('message', (data, from) => made.received(data, from))
  socket.on('error', (error) => made.failed(error))
  return made
}

class NodeDatagramSocket implements DatagramSocket {
  readonly local: Address
  readonly buffer: number | undefined
  readonly #socket: Socket
  readonly #remotes = new Remotes()
  readonly #sender: Sender
  #handler: DatagramHandler | undefined
  #closed = false

  constructor(socket: Socket, local: Address, buffer: number | undefined) {
    this.local = local
    this.buffer = buffer
    this.#socket = socket
    this.#sender = new Sender(socket, this.#remotes, false)
  }

  handle(handler: DatagramHandler): void {
    if (this.#closed) return
    this.#handler = handler
    this.#sender.handle(handler)
  }

  send(data: Uint8Array, to: Address, report = false): boolean {
    return this.#closed || this.#sender.send(data, to, report)
  }

  setHopLimit(hops: number): void {
    setHopLimit(this.#socket, hops)
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#handler = undefined
    this.#sender.handle(undefined)
    this.#socket.close()
  }

  received(data: Uint8Array, from: RemoteInfo): void {
    if (this.#handler === undefined) return
    const remote = this.#remotes.get(from.address, from.port)
    if (remote !== undefined) this.#handler.datagram(data, remote)
  }

  failed(error: Error & { readonly code?: string }): void {
    if (PASSING.has(error.code ?? '')) return
    const handler = this.#handler
    this.close()
    handler?.lost(error)
  }
}

/** @throws RangeError */
export function setHopLimit(socket: Socket, hops: number): void {
  if (!Number.isInteger(hops) || hops < 1 || hops > 255) throw new RangeError(`hops: must be an integer from 1 to 255, not ${hops}`)
  try {
    socket.setTTL(hops)
  } catch {
    // Closed by us or by its owner, which may not have been told yet: nothing leaves it any more.
  }
}
