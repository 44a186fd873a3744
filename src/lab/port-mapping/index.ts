export type { PortMappingInfo } from './leases.ts'
export type {
  Affected,
  AnswerFlaw,
  ByProtocol,
  PortMappingFaults,
  PortMappingOptions,
  PortMappingProtocol,
  UpnpConnection,
  UpnpOptions,
} from './options.ts'
export { PortMapping, type RestartOptions } from './service.ts'
