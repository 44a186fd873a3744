/** Byte streams (TCP, TLS), as everything in the library sees them: relays over TCP, HTTP to routers. */
import type { Address } from './address.ts'
import type { BindOptions } from './socket.ts'

export interface StreamHandler {
  /** `chunk` belongs to the handler from here on. */
  data(chunk: Uint8Array): void
  drained(): void
  /** Once, last: without a reason when either side ended it in order. */
  closed(reason?: Error): void
}

export interface Stream {
  readonly local: Address
  readonly remote: Address
  handle(handler: StreamHandler): void
  /** False when the queue is full: the chunk was taken, but wait for `drained`. Never throws. */
  write(chunk: Uint8Array): boolean
  /** Sends what is queued, then closes. Idempotent. */
  end(): void
  /** Closes at once. Idempotent. */
  destroy(): void
}

export interface DialOptions {
  readonly to: Address
  /** One of our addresses to come from, port 0 for any; the system chooses by default. */
  readonly from?: Address
  /** TLS on top: the name to ask for and to check the certificate against. */
  readonly tls?: { readonly serverName: string; readonly ca?: string }
  readonly signal?: AbortSignal
}

export interface StreamDialer {
  /** Rejects with SallyportError `ERR_DIAL`, or with the signal's reason. */
  dial(options: DialOptions): Promise<Stream>
}

/** Who a TLS listener is: PEM texts. */
export interface TlsIdentity {
  /** The certificate, followed by those that lead to its root. */
  readonly cert: string
  readonly key: string
}

export interface ListenOptions extends BindOptions {
  /**
   * TLS on top. A stream is accepted before its handshake, so that those who never begin one can be counted and closed; what is written to it
   * waits until then.
   */
  readonly tls?: TlsIdentity
}

export interface StreamListener {
  readonly local: Address
  /**
   * Another certificate for those who connect from now on; nothing changes without TLS.
   * @throws SallyportError `ERR_BIND` when it is none or the key is another's: the old one stays in use
   */
  renew(tls: TlsIdentity): void
  /** Idempotent; streams already accepted live on. */
  close(): void
}
