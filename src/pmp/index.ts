export { openClients } from './clients.ts'
export type { Lease } from './lease.ts'
export { type LeaseWish, PortMapper, type PortMapperOptions } from './mapper.ts'
export { type Proof, type Prove, type Reach, reachOf } from './proof.ts'
export {
  type Grant,
  MAPPING_PROTOCOLS,
  type MappingClient,
  type MappingClientOptions,
  type MappingProtocol,
  type MappingRequest,
  type MappingTransport,
  type RouterFacts,
  type Uplink,
} from './protocol.ts'
export type { OpenClients } from './router.ts'
export {
  type ProtocolAnswer,
  type ProtocolFailure,
  type ProtocolSurvey,
  type RouterSurvey,
  type SurveyOptions,
  surveyRouters,
} from './survey.ts'
export { checkMappingTerms, MAPPING_DEFAULTS, type MappingTerms } from './terms.ts'
