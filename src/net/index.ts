export { Address, type Family, Prefix, type Scope } from './address.ts'
export type { Clock, Timer } from './clock.ts'
export type { DefaultRoute, Dns, Gateway, InterfaceAddress, Interfaces } from './interfaces.ts'
export { FIRST_REPEAT, isLocalName } from './local-name.ts'
export type { Network } from './network.ts'
export { type Paced, Pacer, pacerOf } from './pacer.ts'
export { type Random, randomFraction, randomUint32 } from './random.ts'
export {
  type BindOptions,
  type DatagramHandler,
  type DatagramSocket,
  isPassing,
  type MulticastOptions,
  type SendFailure,
} from './socket.ts'
export type { DialOptions, ListenOptions, Stream, StreamDialer, StreamHandler, StreamListener, TlsIdentity } from './stream.ts'
export { Timers } from './timers.ts'
