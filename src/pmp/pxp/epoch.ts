/**
 * Has the router lost its state? Both protocols tell by a clock of the router's that begins anew with it; each has its own rule for how far
 * that clock may be from ours.
 */

/** Both clocks at one moment, in seconds. */
export interface Reading {
  readonly server: number
  readonly client: number
}

/** Whether `now` can come from the same life of the router as `before`. */
export type EpochRule = (before: Reading, now: Reading) => boolean

/** RFC 6886 3.6: the router's clock has to have gone on by 7/8 of what ours has, with 2 seconds for rounding. */
export const natPmpEpochRule: EpochRule = (before, now) => {
  const expected = before.server + ((now.client - before.client) * 7) / 8
  return now.server >= expected - 2
}

/** RFC 6887 8.5: not back by more than a second (answers may overtake each other), and the two clocks within 1/16 and 2 seconds. */
export const pcpEpochRule: EpochRule = (before, now) => {
  if (now.server < before.server - 1) return false
  const client = now.client - before.client
  const server = now.server - before.server
  return client + 2 >= server - server / 16 && server + 2 >= client - client / 16
}

export class Epoch {
  readonly #rule: EpochRule
  #last: Reading | undefined

  constructor(rule: EpochRule) {
    this.#rule = rule
  }

  /** The router has answered before. */
  get known(): boolean {
    return this.#last !== undefined
  }

  /** Takes the clock of an answer, `now` in milliseconds. False when the router has lost its state since the one before. */
  continues(epochSeconds: number, now: number): boolean {
    const last = this.#last
    const next = { server: epochSeconds, client: now / 1000 }
    // RFC 6887 8.5: kept whatever it says, so that one restart counts once.
    this.#last = next
    return last === undefined || this.#rule(last, next)
  }
}
