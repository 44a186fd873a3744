/**
 * The numbers of STUN and of what is built on it, as IANA has them: methods, attributes, error codes.
 * RFC 8489 (STUN), 8656 (TURN), 6062 (TURN-TCP), 8445 (ICE), 5780 (NAT behaviour). How values are laid out is in message.ts and writer.ts.
 */

export const Method = {
  Binding: 0x001,
  Allocate: 0x003,
  Refresh: 0x004,
  Send: 0x006,
  Data: 0x007,
  CreatePermission: 0x008,
  ChannelBind: 0x009,
  Connect: 0x00a,
  ConnectionBind: 0x00b,
  ConnectionAttempt: 0x00c,
} as const

/** Types below 0x8000 are comprehension-required: who does not know one must not act on the message (RFC 8489 14). */
export const Attribute = {
  MappedAddress: 0x0001,
  ChangeRequest: 0x0003,
  Username: 0x0006,
  MessageIntegrity: 0x0008,
  ErrorCode: 0x0009,
  UnknownAttributes: 0x000a,
  ChannelNumber: 0x000c,
  Lifetime: 0x000d,
  XorPeerAddress: 0x0012,
  Data: 0x0013,
  Realm: 0x0014,
  Nonce: 0x0015,
  XorRelayedAddress: 0x0016,
  RequestedAddressFamily: 0x0017,
  EvenPort: 0x0018,
  RequestedTransport: 0x0019,
  DontFragment: 0x001a,
  AccessToken: 0x001b,
  MessageIntegritySha256: 0x001c,
  PasswordAlgorithm: 0x001d,
  Userhash: 0x001e,
  XorMappedAddress: 0x0020,
  ReservationToken: 0x0022,
  Priority: 0x0024,
  UseCandidate: 0x0025,
  Padding: 0x0026,
  ResponsePort: 0x0027,
  ConnectionId: 0x002a,
  AdditionalAddressFamily: 0x8000,
  AddressErrorCode: 0x8001,
  PasswordAlgorithms: 0x8002,
  AlternateDomain: 0x8003,
  Icmp: 0x8004,
  Software: 0x8022,
  AlternateServer: 0x8023,
  CacheTimeout: 0x8027,
  Fingerprint: 0x8028,
  IceControlled: 0x8029,
  IceControlling: 0x802a,
  ResponseOrigin: 0x802b,
  OtherAddress: 0x802c,
  EcnCheck: 0x802d,
  ThirdPartyAuthorization: 0x802e,
  MobilityTicket: 0x8030,
  /** Google's renomination value, as libwebrtc and pion send it (draft-thatcher-ice-renomination). */
  Nomination: 0xc001,
  /** Ours, as XOR-MAPPED-ADDRESS is written: where a check to an address that is on trial was sent to. Whoever does not know it passes over it. */
  CheckDestination: 0xc0d0,
} as const

/** Error codes by name: RFC 8489 14.8, RFC 8656 19, RFC 8445 16.1, RFC 6062 6.3. */
export const StunError = {
  TryAlternate: 300,
  BadRequest: 400,
  Unauthenticated: 401,
  Forbidden: 403,
  MobilityForbidden: 405,
  UnknownAttribute: 420,
  AllocationMismatch: 437,
  StaleNonce: 438,
  AddressFamilyNotSupported: 440,
  WrongCredentials: 441,
  UnsupportedTransport: 442,
  PeerAddressFamilyMismatch: 443,
  ConnectionAlreadyExists: 446,
  ConnectionTimeoutOrFailure: 447,
  AllocationQuotaReached: 486,
  RoleConflict: 487,
  ServerError: 500,
  InsufficientCapacity: 508,
} as const

export const MAGIC_COOKIE = 0x2112a442

/** XOR-MAPPED-ADDRESS, XOR-PEER-ADDRESS and XOR-RELAYED-ADDRESS carry their address XORed (RFC 8489 14.2). */
export function isXorAddress(type: number): boolean {
  return type === Attribute.XorMappedAddress || type === Attribute.XorPeerAddress || type === Attribute.XorRelayedAddress
}
