/** Somebody on a socket of this machine who speaks TURN to a server, or what only looks like it. */
import { createSocket, type Socket as UdpSocket } from 'node:dgram'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import type { Address } from '../../../src/net/index.ts'
import { StreamFramer } from '../../../src/relay/stream-framer.ts'
import { Attribute, Message } from '../../../src/stun/index.ts'
import { USERS } from './server-process.ts'
import { ALLOCATE, type Credentials, longTermKey, message, newId, sealed, UDP } from './wire.ts'

/** Milliseconds until a request over UDP is sent again: the machine may be busy, the kernel may drop. */
const AGAIN = 500

export interface Answer {
  /** Undefined for success. */
  readonly code: number | undefined
  readonly message: Message
}

export class Party {
  /** Where it sends from. */
  readonly port: number
  readonly server: Address
  readonly stream: Socket | undefined
  username: string
  credentials: Credentials | undefined
  /** Gets all that comes and answers no request of `ask`. */
  heard: (data: Uint8Array) => void = () => {}
  bytesOut = 0
  bytesIn = 0
  packetsOut = 0
  packetsIn = 0
  closed = false
  readonly #send: (data: Uint8Array) => void
  readonly #close: () => void
  readonly #asked = new Map<string, (answer: Uint8Array) => void>()

  private constructor(
    server: Address,
    port: number,
    username: string,
    send: (data: Uint8Array) => void,
    close: () => void,
    stream: Socket | undefined,
  ) {
    this.server = server
    this.port = port
    this.username = username
    this.stream = stream
    this.#send = send
    this.#close = close
  }

  /** @param from address of this machine to send from; that of loopback by default */
  static async udp(server: Address, username = 'mallory', from?: string): Promise<Party> {
    const socket: UdpSocket = createSocket({ type: server.family === 4 ? 'udp4' : 'udp6', recvBufferSize: 4 << 20 })
    socket.on('error', () => {})
    socket.bind({ address: from ?? (server.family === 4 ? '127.0.0.1' : '::1'), port: 0, exclusive: true })
    await once(socket, 'listening')
    const party = new Party(
      server,
      socket.address().port,
      username,
      (data) => socket.send(data, server.port, server.ip),
      () => socket.close(),
      undefined,
    )
    socket.on('message', (data) => party.#receive(data))
    return party
  }

  static async tcp(server: Address, username = 'mallory', from?: string): Promise<Party> {
    const stream = connect({ host: server.ip, port: server.port, noDelay: true, ...(from === undefined ? {} : { localAddress: from }) })
    stream.on('error', () => {})
    await Promise.race([once(stream, 'connect'), once(stream, 'close')])
    const party = new Party(
      server,
      stream.localPort ?? 0,
      username,
      (data) => void stream.write(data),
      // Thousands in order would leave as many ports that nobody can have for a minute.
      () => stream.resetAndDestroy(),
      stream,
    )
    const framer = new StreamFramer((frame) => party.#receive(frame))
    stream.on('data', (chunk) => void framer.push(chunk))
    stream.on('close', () => {
      party.closed = true
      for (const answered of party.#asked.values()) answered(new Uint8Array(0))
    })
    if (stream.destroyed) party.closed = true
    return party
  }

  send(data: Uint8Array): void {
    this.packetsOut++
    this.bytesOut += data.length
    this.#send(data)
  }

  close(): void {
    this.closed = true
    this.#close()
  }

  /** Sends a message, again and again over UDP, until something with its transaction id comes. Rejects when the connection is closed. */
  async ask(data: Uint8Array): Promise<Answer> {
    const key = idOf(data)
    const answer = await new Promise<Uint8Array>((resolve) => {
      const timer = this.stream === undefined ? setInterval(() => this.send(data), AGAIN) : undefined
      this.#asked.set(key, (found) => {
        clearInterval(timer)
        this.#asked.delete(key)
        resolve(found)
      })
      this.send(data)
      if (this.closed) this.#asked.get(key)?.(new Uint8Array(0))
    })
    const found = Message.read(answer)
    if (found === undefined) throw new Error('disconnected')
    return { code: found.errorCode()?.code, message: found }
  }

  /** A request under a good nonce, for which it asks first where it has none, or an old one. */
  async request(type: number, body: (id: Buffer) => Uint8Array, fresh?: (data: Buffer) => Uint8Array): Promise<Answer> {
    for (;;) {
      const credentials = this.credentials ?? (await this.challenge())
      const id = newId()
      const data = sealed(type, body(id), credentials, id)
      const answer = await this.ask(fresh?.(data) ?? data)
      if (answer.code !== 438) return answer
      this.#learn(answer.message)
    }
  }

  /** The relayed address of IPv4, or the code of the refusal. */
  async allocate(more: Uint8Array = new Uint8Array(0)): Promise<Address | number> {
    const { code, message } = await this.request(ALLOCATE, () => Buffer.concat([UDP, more]))
    return code ?? (message.address(Attribute.XorRelayedAddress) as Address)
  }

  /** Asks for a nonce. A server that has told this address enough is asked again, until it answers. */
  async challenge(): Promise<Credentials> {
    const { message: response } = await this.ask(message(ALLOCATE, UDP))
    return this.#learn(response)
  }

  #learn(response: Message): Credentials {
    const realm = response.text(Attribute.Realm)
    const nonce = response.text(Attribute.Nonce)
    if (realm === undefined || nonce === undefined) throw new Error(`no challenge: ${JSON.stringify(response.errorCode())}`)
    const { username } = this
    this.credentials = { username, realm, nonce, key: longTermKey(username, realm, USERS[username] ?? 'of nobody') }
    return this.credentials
  }

  #receive(data: Uint8Array): void {
    this.packetsIn++
    this.bytesIn += data.length
    const asked = data.length >= 20 && data[0]! < 0x40 && (data[0]! & 1) === 1 ? this.#asked.get(idOf(data)) : undefined
    if (asked === undefined) this.heard(data)
    else asked(data)
  }
}

function idOf(data: Uint8Array): string {
  return Buffer.from(data.buffer, data.byteOffset, data.length).toString('latin1', 8, 20)
}
