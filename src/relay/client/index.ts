export type { Allocation, AllocationCounters, AllocationOutlet, AllocationStatus } from './allocation.ts'
export type { RelayCredentials } from './credential-source.ts'
export { RelayClient, type RelayClientOptions, type RelayOutlet, relayTransports } from './relay-client.ts'
export type { RelayTransport } from './server-connection.ts'
