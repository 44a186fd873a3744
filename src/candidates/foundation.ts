/** Foundations (RFC 8445 5.1.1.3): the same text for candidates that are likely to work or fail together, within one traversal. */
import type { Base, CandidateType } from './candidate.ts'

export class Foundations {
  readonly #known = new Map<string, string>()

  /** @param server its IP for reflexive and relayed candidates; RFC 8445 compares servers by IP address */
  of(type: CandidateType, base: Base, server = ''): string {
    const { address } = base
    const key = `${type} udp ${address.ip}%${address.zone} ${server}`
    let foundation = this.#known.get(key)
    if (foundation === undefined) {
      foundation = String(this.#known.size + 1)
      this.#known.set(key, foundation)
    }
    return foundation
  }
}
