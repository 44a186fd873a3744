/**
 * A caller's own bound node:dgram socket, shared with the caller: datagrams come here first, and what is not ours is passed
 * on to the caller's own 'message' listeners as if nobody had stood between.
 */
import type { RemoteInfo, Socket } from 'node:dgram'
import { SallyportError } from '../../errors.ts'
import { Address } from '../address.ts'
import type { DatagramHandler, DatagramSocket } from '../socket.ts'
import { grantedBuffer, setHopLimit } from './datagram-socket.ts'
import { Remotes } from './remotes.ts'
import { Sender } from './sender.ts'

export interface AdoptedSocket extends DatagramSocket {
  /**
   * Hands a datagram to the caller's own 'message' listeners. Inside `datagram` it goes with the caller's original `rinfo`, later with
   * an equal one. An error thrown by such a listener is the caller's and surfaces as an uncaught exception, as without us.
   */
  passOn(data: Uint8Array, from: Address): void
}

/** Untyped, as Node.js calls it: every event of the socket goes through. */
type Emit = (event: string, ...rest: unknown[]) => boolean

/**
 * `close()` gives the socket back as it was, open. The caller may go on sending and listening all the while.
 * @throws TypeError when the socket is not bound, or is connected
 */
export function adoptSocket(socket: Socket): AdoptedSocket {
  const adopted = new NodeAdoptedSocket(socket, boundAddress(socket))
  adopted.attach()
  return adopted
}

function boundAddress(socket: Socket): Address {
  let bound: { readonly address: string; readonly port: number }
  try {
    bound = socket.address()
  } catch (cause) {
    throw new TypeError('socket: must be bound and open; wait for its "listening" event', { cause })
  }
  let connected = true
  try {
    socket.remoteAddress()
  } catch {
    connected = false
  }
  if (connected) throw new TypeError('socket: must not be connected; it is to reach more than one address')
  return Address.of(bound.address, bound.port)
}

class NodeAdoptedSocket implements AdoptedSocket {
  readonly local: Address
  readonly #socket: Socket
  readonly #remotes = new Remotes()
  readonly #sender: Sender
  #handler: DatagramHandler | undefined
  #closed = false
  /** The caller's emit, and whether it was the socket's own property (somebody else may have wrapped it before us). */
  readonly #emit: Emit
  readonly #wrapped: boolean
  /** The datagram being handled right now, so that it can be passed on with what came with it. */
  #data: Uint8Array | undefined
  #rinfo: RemoteInfo | undefined

  constructor(socket: Socket, local: Address) {
    this.local = local
    this.#socket = socket
    this.#emit = socket.emit as Emit
    this.#wrapped = Object.hasOwn(socket, 'emit')
    this.#sender = new Sender(socket, this.#remotes, local.family === 6)
  }

  attach(): void {
    this.#socket.emit = this.#intercept as Socket['emit']
    this.#socket.on('close', this.#gone)
  }

  handle(handler: DatagramHandler): void {
    if (this.#closed) return
    this.#handler = handler
    this.#sender.handle(handler)
  }

  send(data: Uint8Array, to: Address, report = false): boolean {
    return this.#closed || this.#sender.send(data, to, report)
  }

  /** As its owner left it. */
  get buffer(): number | undefined {
    return grantedBuffer(this.#socket)
  }

  setHopLimit(hops: number): void {
    setHopLimit(this.#socket, hops)
  }

  passOn(data: Uint8Array, from: Address): void {
    const rinfo = data === this.#data && this.#rinfo !== undefined ? this.#rinfo : this.#rinfoOf(data, from)
    this.#emit.call(this.#socket, 'message', data, rinfo)
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#handler = undefined
    this.#sender.handle(undefined)
    this.#socket.off('close', this.#gone)
    // Somebody who wrapped it after us calls ours: then it has to stay, and lets everything through from now on.
    if (this.#socket.emit !== this.#intercept) return
    if (this.#wrapped) this.#socket.emit = this.#emit as Socket['emit']
    else delete (this.#socket as { emit?: Emit }).emit
  }

  readonly #intercept: Emit = (event, ...rest) => {
    if (event !== 'message' || this.#handler === undefined) return this.#emit.call(this.#socket, event, ...rest)
    const [data, rinfo] = rest as [Uint8Array, RemoteInfo]
    const from = this.#remotes.get(rinfo.address, rinfo.port)
    if (from === undefined) return this.#emit.call(this.#socket, event, ...rest)
    this.#data = data
    this.#rinfo = rinfo
    try {
      this.#handler.datagram(data, from)
    } finally {
      this.#data = undefined
      this.#rinfo = undefined
    }
    return true
  }

  readonly #gone = (): void => {
    const handler = this.#handler
    this.close()
    handler?.lost(new SallyportError('ERR_CLOSED', 'the socket was closed by its owner'))
  }

  #rinfoOf(data: Uint8Array, from: Address): RemoteInfo {
    const size = data.length
    if (this.local.family === 4) return { address: from.ip, family: 'IPv4', port: from.port, size }
    const ip = from.family === 4 ? `::ffff:${from.ip}` : from.host
    return { address: ip, family: 'IPv6', port: from.port, size }
  }
}
