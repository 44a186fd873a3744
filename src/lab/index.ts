export type { ChannelEnd, ChannelOptions } from './channel.ts'
export type { LabDns } from './dns.ts'
export type { FirewallOptions } from './firewall.ts'
export { type AddressOptions, type Attachment, type HostOptions, type InterfaceOptions, LabHost } from './host.ts'
export { createLab, type FaultFilter, Lab, type LabOptions } from './lab.ts'
export type { BurstLoss, Link, LinkOptions } from './link.ts'
export type { MappingInfo } from './nat.ts'
export {
  type NatFiltering,
  type NatMapping,
  type NatOptions,
  type NatPreset,
  nat,
  type Pooling,
  type PortAllocation,
} from './nat-options.ts'
export type { DropReason, PacketView, Protocol, TcpHeader } from './packet.ts'
export {
  type Affected,
  type AnswerFlaw,
  type ByProtocol,
  PortMapping,
  type PortMappingFaults,
  type PortMappingInfo,
  type PortMappingOptions,
  type PortMappingProtocol,
  type RestartOptions,
  type UpnpConnection,
  type UpnpOptions,
} from './port-mapping/index.ts'
export { type ForwardOptions, Router, type RouterOptions } from './router.ts'
export { Segment, type SegmentOptions } from './segment.ts'
export type { SendQueueOptions } from './socket.ts'
export type { Counters, Trace, TraceEvent, TraceRecord } from './trace.ts'
export type { Verdict } from './world.ts'
