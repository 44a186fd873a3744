/** What a virtual router that speaks port mapping protocols is told to be, and the ways in which it can be wrong. */

/** NAT-PMP (RFC 6886), PCP (RFC 6887) and UPnP IGD. */
export type PortMappingProtocol = 'nat-pmp' | 'pcp' | 'upnp'

/** All protocols, none, or those that are named. */
export type Affected = boolean | readonly PortMappingProtocol[]

/** One value for all protocols, or one for each that is named. */
export type ByProtocol<T extends string | number> = T | { readonly [P in PortMappingProtocol]?: T }

export interface UpnpConnection {
  /** Default `WANIPConnection`. */
  readonly service?: 'WANIPConnection' | 'WANPPPConnection'
  /** What GetStatusInfo says. Default `Connected`, or `Up` in the words of some; with anything else the connection has no address and takes no mappings. */
  readonly status?: string
}

export interface UpnpOptions {
  /** Of the Internet Gateway Device. Default 2; with 1 there is no AddAnyPortMapping, no lease is endless otherwise than by 0, and there are no pinholes. */
  readonly version?: 1 | 2
  /** TCP port of description and control. Default 5000. */
  readonly port?: number
  /** How the description names where to send commands: `/ctl/…`, a whole URL, or `ctl/…` beside a URLBase. Default `root`. */
  readonly controlUrl?: 'root' | 'absolute' | 'base'
  /** The namespace of its types is the old `urn:dslforum-org`. Default false. */
  readonly dslForum?: boolean
  /** Connections to the outside, as the description lists them. Default one WANIPConnection that is connected. */
  readonly connections?: readonly UpnpConnection[]
  /** To a search: each type once, twice, or of all that fit only the first. Default `once`. */
  readonly answers?: 'once' | 'twice' | 'first'
  /** Knows a header only by the one spelling `SOAPAction`. Default false. */
  readonly exactHeaders?: boolean
}

export interface PortMappingOptions {
  /** Default true. */
  readonly natPmp?: boolean
  /** Default true. Of `version` 1, a draft, it understands no request that RFC 6887 has. */
  readonly pcp?: boolean | { readonly version: 1 | 2 }
  /** Default true. */
  readonly upnp?: boolean | UpnpOptions
  /** Milliseconds between which what it grants lies. By default up to a day, UPnP up to a week; from 120,000 for PCP. */
  readonly leases?: { readonly shortest?: number; readonly longest?: number }
  /** Tells the LAN by multicast when it has started. Default true. */
  readonly announcements?: boolean
  /**
   * What miniupnpd 2.3.1 does otherwise: malformed PCP is answered with version 0, deleting what is gone is NO_RESOURCES, a PCP renewal that
   * does not suggest the assigned port makes another mapping, a pinhole renewed has external port 0, announcements of PCP come once, with epoch
   * 0, and AddPortMapping for somebody else is 718.
   */
  readonly like?: 'miniupnpd'
  readonly faults?: PortMappingFaults
}

/** How an answer is spoilt (UPnP: what comes over HTTP). What makes no sense for a protocol leaves its answers as they are. */
export type AnswerFlaw =
  | 'truncated' // half of it
  | 'garbage' // other bytes of the same length
  | 'opcode' // the answer to another request: another opcode, or another SOAP action
  | 'mismatch' // right, but for another nonce, or another internal port with NAT-PMP
  | 'oversized' // 1,500 bytes; with UPnP 2 MB
  | 'broken-xml' // the end tags are missing
  | 'entities' // a document type with entities that grow a billionfold
  | 'no-length' // no Content-Length: the end of the stream is the end
  | 'chunked' // HTTP chunks
  | 'endless' // HTTP chunks without an end
  | 'drip' // a byte every 500 milliseconds
  | 'redirect' // HTTP 302 to another host of the LAN

/** All are off unless set. */
export interface PortMappingFaults {
  /** Hears nothing: no answer, nothing done. */
  readonly silent?: Affected
  /** Milliseconds by which answers are late; what they confirm is done at once. */
  readonly delay?: ByProtocol<number>
  /** Milliseconds after which what it grants from now on ends, however long was asked for; UPnP tells only who reads the entry. */
  readonly longestLease?: number
  /** Mappings are granted and listed, and forward nothing; standing ones stop, and go on once it is over. */
  readonly ghost?: Affected
  /** The external IPv4 address it tells, whatever the true one is: another, a private one, `0.0.0.0`, or `''` for none where the protocol can say so. */
  readonly externalAddress?: string
  /** External ports that it says other hosts have; true for all of them. */
  readonly taken?: true | readonly number[]
  /** UPnP: leases are refused with 725; with 0 they are endless. */
  readonly permanentOnly?: boolean
  /** UPnP: AddPortMapping for a mapping that stands is 718, its owner's renewal too. */
  readonly noRenewals?: boolean
  /** UPnP: a renewal is accepted, and the lease ends as it would have. */
  readonly vainRenewals?: boolean
  /** UPnP: external and internal port must be the same, else 724. */
  readonly samePort?: boolean
  /** Not authorized: NAT-PMP and PCP result 2, UPnP 606. */
  readonly refused?: Affected
  /** No room: NAT-PMP result 4, PCP 8, UPnP 728, pinholes 701. */
  readonly full?: Affected
  /** No connection to the internet: NAT-PMP result 3, PCP 7, UPnP 501 and no address. miniupnpd behaves so where its own address is private. */
  readonly offline?: Affected
  readonly malformed?: ByProtocol<AnswerFlaw>
  /** Another host on the LAN answers first, with falsehoods; in SSDP with a device of its own, which grants everything and forwards nothing. */
  readonly spoofed?: Affected
  /** Answers (UPnP: those to searches) come from another port. */
  readonly otherPort?: Affected
  /** UPnP: LOCATION is on that other host; or this URL. */
  readonly elsewhere?: boolean | string
}

export function affects(fault: Affected | undefined, protocol: PortMappingProtocol): boolean {
  return typeof fault === 'object' ? fault.includes(protocol) : fault === true
}

export function valueFor<T extends string | number>(fault: ByProtocol<T> | undefined, protocol: PortMappingProtocol): T | undefined {
  return typeof fault === 'object' ? (fault as { readonly [P in PortMappingProtocol]?: T })[protocol] : fault
}
