/** What `createRelay` takes, with its defaults, and what becomes of it once it is checked. */
import type { Address, Network, TlsIdentity } from '../../net/index.ts'
import type { PasswordAlgorithm } from '../../stun/index.ts'
import type { RelayTransport } from '../transport.ts'
import type { RelayEvent } from './events.ts'
import type { Ledger } from './ledger.ts'

/** What an `authenticate` callback is told of a client. */
export interface AuthenticationRequest {
  readonly client: Address
  readonly transport: RelayTransport
  readonly realm: string
}

export interface RelayQuotas {
  /** Allocations in all; 10,000 by default. Above it Allocate gets 508. */
  readonly allocations?: number
  /** Allocations of one user; 100 by default. Above it Allocate gets 486 (RFC 8656 5). */
  readonly allocationsPerUser?: number
  /** Peer addresses that an allocation may have permissions for at once; 1,024 by default. Above it 508. */
  readonly permissionsPerAllocation?: number
  /** Bytes of application data a second, both ways together; no limit by default. What is above it is dropped and counted. */
  readonly bytesPerSecond?: number
  /** The same for all allocations of one user. */
  readonly bytesPerSecondPerUser?: number
}

export interface PeerOptions {
  /** Ranges such as `10.1.0.0/16` that are permitted although denied by default, or by `deny`. The relay's own addresses stay denied. */
  readonly allow?: readonly string[]
  /** Ranges denied beside those denied by default. */
  readonly deny?: readonly string[]
  /**
   * For labs and closed networks: permits the private, shared, loopback, link-local and documentation ranges, and this machine itself but for
   * the relay's own listeners. False by default: a relay that can be reached from outside must not lead inside.
   */
  readonly private?: boolean
}

export interface RelayOptions {
  /** Where it runs: `nodeNetwork()`, the operating system, or a host of `sallyport/lab`. */
  readonly network: Network
  /** UDP and TCP; 3478 by default, 0 for any free one. */
  readonly port?: number
  /** TLS; 5349 by default, 0 for any free one. */
  readonly tlsPort?: number
  /**
   * IP addresses of this machine to listen on, one or two of each family; the wildcard of both families by default. Two of a family turn on
   * the behaviour tests of RFC 5780 for it. A machine with several addresses should list them: an answer from the wildcard leaves from the
   * address that the system chooses.
   */
  readonly addresses?: readonly string[]
  /** The second port of the behaviour tests; by default the one after `port`, or any when that is 0. */
  readonly alternatePort?: number
  /** True by default. */
  readonly udp?: boolean
  /** True by default. */
  readonly tcp?: boolean
  /** PEM texts; without them there is no TLS. */
  readonly tls?: TlsIdentity
  /**
   * IP addresses of this machine that relayed addresses are made on; by default those listened on, or of the interfaces' addresses the one of
   * each family that reaches furthest.
   */
  readonly relayAddresses?: readonly string[]
  /** What clients are told instead, where a NAT maps addresses one to one: of each family none, or as many as relay addresses, in their order. */
  readonly externalAddresses?: readonly string[]
  /** `sallyport` by default. The shorter, the smaller an answer to strangers. */
  readonly realm?: string
  /** Passwords by user name. Of `users`, `secrets` and `authenticate` at least one is needed: there is no open relay. */
  readonly users?: Readonly<Record<string, string>>
  /**
   * Secrets shared with who makes credentials that expire (`restCredentials`): any of them is good, so that they can be changed. A credential
   * that has expired makes no new allocation; one that stands lives on.
   */
  readonly secrets?: string | readonly string[]
  /**
   * The password of any other user; undefined when there is none of that name. Asked only for a client whose address is proven, and only when
   * it has no allocation yet.
   */
  readonly authenticate?: (username: string, request: AuthenticationRequest) => string | undefined | Promise<string | undefined>
  /** What nonces are made with: 16 random bytes or more, shared by the workers of one relay. Its own by default. */
  readonly nonceSecret?: Uint8Array
  /** Milliseconds; 600,000 by default. */
  readonly nonceLifetime?: number
  /** Offered to clients, best first; SHA-256 and MD5 by default. An empty list makes a relay of RFC 5389. */
  readonly algorithms?: readonly PasswordAlgorithm[]
  readonly quotas?: RelayQuotas
  /** Counts allocations for several workers together; by default each relay counts its own. */
  readonly ledger?: Ledger
  /** Of relayed addresses, both included; 49152 to 65535 by default (RFC 8656 7.2). */
  readonly ports?: { readonly min: number; readonly max: number }
  /** Milliseconds of an allocation whose client does not say (10 minutes by default), and at most (1 hour). RFC 8656 7.2. */
  readonly lifetimes?: { readonly standard?: number; readonly longest?: number }
  readonly peers?: PeerOptions
  /** Answers that one source, an IPv4 address or an IPv6 /64, gets before it has authenticated: 20 a second and 50 at once by default. */
  readonly strangers?: { readonly perSecond?: number; readonly burst?: number }
  /** Connections that have not authenticated: 1,000 in all, 50 from one source, 10,000 ms each by default. */
  readonly connections?: { readonly strangers?: number; readonly strangersPerSource?: number; readonly patience?: number }
  /** Other workers listen on the same ports (SO_REUSEPORT). False by default. */
  readonly reusePort?: boolean
  /** Hears what happens, as plain objects; never of secrets. What it throws is passed over. */
  readonly log?: (event: RelayEvent) => void
}
