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
  type RelayTransport,
  relayTransports,
} from './client/index.ts'
export { type RestCredentials, type RestCredentialsOptions, restCredentials } from './rest-credentials.ts'
