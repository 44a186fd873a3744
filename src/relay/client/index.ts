export type { Allocation, AllocationCounters, AllocationOutlet, AllocationStatus } from './allocation.ts'
export type { RelayCredentials } from './credential-source.ts'
export { relayTransports } from './establishment.ts'
export { RelayClient, type RelayClientOptions, type RelayOutlet } from './relay-client.ts'
