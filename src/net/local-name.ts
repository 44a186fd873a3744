/** Names under `.local`, which are asked for by multicast on the link instead of of the DNS (RFC 6762), and nowhere else. */

/** One label: deeper names are somebody's services, not a host hiding its address. */
const NAME = /^[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.local$/i

/** Milliseconds until the question is put again, doubling each time (RFC 6762 5.2). */
export const FIRST_REPEAT = 1_000

/** A label of at most 63 characters, and `.local`. */
export function isLocalName(name: string): boolean {
  return NAME.test(name)
}
