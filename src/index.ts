export {
  type Candidate,
  type CandidateType,
  formatCandidate,
  fromRTCIceCandidate,
  type HostPolicy,
  type Mapping,
  type MappingStatus,
  parseCandidate,
  type RelayCredentials,
  type RelayServerStatus,
  type RTCIceCandidateLike,
  toRTCIceCandidate,
} from './candidates/index.ts'
export type { Area, DiagnosticEvent } from './diagnostics.ts'
export { type ErrorCode, SallyportError } from './errors.ts'
export {
  Address,
  type BindOptions,
  type Clock,
  type DatagramHandler,
  type DatagramSocket,
  type InterfaceAddress,
  type Network,
  type SendFailure,
  type Timer,
} from './net/index.ts'
export { nodeNetwork } from './net/node/index.ts'
export type { IceServer, PortMappingPolicy, RelayPolicy, TraversalOptions } from './options.ts'
export type { Explanation, LogEntry, PairReport, Path, PathEnd } from './path/index.ts'
export type { Session } from './session.ts'
export type { SessionEvents, SessionState, SessionStatus } from './session-events.ts'
export type { Signal } from './signal/index.ts'
export { type ConnectOptions, createTraversal, type Traversal } from './traversal.ts'
export type { NatStatus, ServerStatus, TraversalStatus } from './traversal-status.ts'
