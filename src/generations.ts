/** The generations of one session that are alive: the present one, and earlier ones that may still carry data (RFC 8445 9). */
import type { Generation } from './generation.ts'
import type { Pair } from './ice/index.ts'

/** Earlier ones, at most: restarts in quick succession leave one each, and the peer may send on any. */
const MAX_PREVIOUS = 3

export class Generations {
  #current: Generation | undefined
  /** The oldest first. */
  #previous: readonly Generation[] = []
  #count = 0
  /** Of those that are gone. */
  #droppedEarly = 0

  get current(): Generation | undefined {
    return this.#current
  }

  /** The present one last. */
  get alive(): readonly Generation[] {
    return this.#current === undefined ? this.#previous : [...this.#previous, this.#current]
  }

  /** Begun, ever. */
  get count(): number {
    return this.#count
  }

  /** Datagrams of all, ever, that were dropped because their pair was not valid in time. */
  get droppedEarly(): number {
    return this.alive.reduce((sum, { droppedEarly }) => sum + droppedEarly, this.#droppedEarly)
  }

  /** The pair that should carry data: of the newest generation that has one. */
  get selected(): Pair | undefined {
    return this.alive.findLast(({ agent }) => agent.selected !== undefined)?.agent.selected
  }

  /** The present one has a path, so that earlier ones are not needed much longer. */
  get superseded(): boolean {
    return this.#previous.length > 0 && this.#current?.agent.selected !== undefined
  }

  /** Makes the next one the present one. @param active what carries data now, and must not go */
  begin(make: (number: number) => Generation, active: Pair | undefined): Generation {
    // Those that may carry data stay, since the peer may not have gone on yet; of the others one is enough.
    const last = this.#current
    if (last !== undefined && (this.#previous.length === 0 || mayCarry(last))) {
      this.#previous = [...this.#previous, last]
      const spare = this.#previous.find(({ agent }) => agent.selected !== active)
      if (this.#previous.length > MAX_PREVIOUS && spare !== undefined) this.#retire([spare])
    } else if (last !== undefined) this.#retire([last])
    this.#count++
    this.#current = make(this.#count)
    return this.#current
  }

  /** The earlier one between these credentials, if it is alive: its agent knows what the peer's was told, and another one would not. */
  earlier(ours: string, theirs: string): Generation | undefined {
    return this.#previous.find(({ agent: { local, remote } }) => local.ufrag === ours && remote?.ufrag === theirs)
  }

  /** Makes an earlier one the present one again. */
  resume(earlier: Generation, active: Pair | undefined): Generation {
    this.#previous = this.#previous.filter((generation) => generation !== earlier)
    return this.begin(() => earlier, active)
  }

  retirePrevious(): void {
    this.#retire(this.#previous)
  }

  /** None is left. */
  clear(): void {
    const all = this.alive
    this.#current = undefined
    this.#retire(all)
  }

  #retire(retired: readonly Generation[]): void {
    this.#previous = this.#previous.filter((generation) => !retired.includes(generation))
    for (const generation of retired) {
      generation.close()
      this.#droppedEarly += generation.droppedEarly
    }
  }
}

/** It has a path, or the peer may have one: once its check was answered it may send, before our own check is. */
function mayCarry({ agent }: Generation): boolean {
  return agent.selected !== undefined || agent.pairs.some(({ heard }) => heard)
}
