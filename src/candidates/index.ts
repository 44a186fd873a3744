export { type Base, type Candidate, type CandidateType, isRedundant, type LocalCandidate, type NamedCandidate } from './candidate.ts'
export { Foundations } from './foundation.ts'
export { assertHostPolicy, chooseHostAddresses, type HostChoice, type HostPolicy, type HostRejection } from './host.ts'
export { type Mapping, mappingOf } from './mapping.ts'
export { type MappedAddress, type MappingStatus, PortMappedGatherer } from './port-mapped.ts'
export {
  asPeerReflexive,
  candidatePriority,
  comparePairPriority,
  localPreference,
  type PairPriority,
  pairPriority,
  pairPriorityValue,
} from './priority.ts'
export { RelayBase, type RelayCredentials, type RelayDistance, RelayGatherer, type RelayServerStatus } from './relayed.ts'
export {
  addressed,
  formatCandidate,
  fromRTCIceCandidate,
  parseCandidate,
  type RTCIceCandidateLike,
  readCandidate,
  toRTCIceCandidate,
} from './sdp.ts'
export { type ReflexiveBinding, ReflexiveGatherer, type ReflexiveOutlet, type ReflexiveServer } from './server-reflexive.ts'
