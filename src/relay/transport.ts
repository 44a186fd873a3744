/** How a client reaches a relay: RFC 8656 3.1, without DTLS. */
export type RelayTransport = 'udp' | 'tcp' | 'tls'
