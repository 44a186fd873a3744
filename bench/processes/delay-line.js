// @ts-check
/** Holds things for a fixed time, in order, to a tenth of a millisecond where `setTimeout` alone would be up to one late. */

/** The system's monotonic clock, the same in every process, in milliseconds. */
export function now() {
  return Number(process.hrtime.bigint()) / 1e6
}

/** Before something is due, in milliseconds: from here on the event loop is turned instead of waited for. */
const POLL = 0.7

export class DelayLine {
  #delay
  /** @type {{ at: number, deliver: () => void }[]} */
  #queue = []
  #armed = false

  /** @param {number} delay milliseconds */
  constructor(delay) {
    this.#delay = delay
  }

  /** @param {() => void} deliver */
  add(deliver) {
    this.#queue.push({ at: now() + this.#delay, deliver })
    if (!this.#armed) this.#turn()
  }

  #turn = () => {
    this.#armed = true
    for (let first = this.#queue[0]; first !== undefined; first = this.#queue[0]) {
      const left = first.at - now()
      if (left > 0) {
        if (left > POLL) setTimeout(this.#turn, left - POLL)
        else setImmediate(this.#turn)
        return
      }
      this.#queue.shift()
      first.deliver()
    }
    this.#armed = false
  }
}
