/**
 * The one seam to the outside world. `net/node/` implements it on the operating system, `lab/` on a virtual internet;
 * nothing above can tell which one it runs on.
 */
import type { Clock } from './clock.ts'
import type { Dns, Gateway, Interfaces } from './interfaces.ts'
import type { Random } from './random.ts'
import type { BindOptions, DatagramSocket } from './socket.ts'
import type { ListenOptions, Stream, StreamDialer, StreamListener } from './stream.ts'

export interface Network {
  readonly clock: Clock
  readonly random: Random
  readonly interfaces: Interfaces
  readonly gateway: Gateway
  readonly dns: Dns
  readonly streams: StreamDialer
  /** Rejects with SallyportError `ERR_BIND`. */
  bind(options: BindOptions): Promise<DatagramSocket>
  /** A TCP or TLS listener. `accept` gets each stream once it stands. Rejects with SallyportError `ERR_BIND`. */
  listen(options: ListenOptions, accept: (stream: Stream) => void): Promise<StreamListener>
}
