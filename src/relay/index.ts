export { FIRST_CHANNEL, LAST_CHANNEL } from './channel-data.ts'
export {
  type Allocation,
  type AllocationCounters,
  type AllocationOutlet,
  type AllocationStatus,
  RelayClient,
  type RelayClientOptions,
  type RelayCredentials,
  type RelayOutlet,
  relayTransports,
} from './client/index.ts'
export { type RestCredentials, type RestCredentialsOptions, restCredentials } from './rest-credentials.ts'
export type { AllocationEnd, RelayEvent, Traffic } from './server/events.ts'
export type { Ledger, LedgerVerdict } from './server/ledger.ts'
export type { AuthenticationRequest, PeerOptions, RelayOptions, RelayQuotas } from './server/options.ts'
export { createRelay, type Relay } from './server/relay.ts'
export type { DropReason, IgnoreReason, RelayCounters, RelayStatus } from './server/status.ts'
export type { RelayTransport } from './transport.ts'
