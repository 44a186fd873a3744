/**
 * The order in which workers hold a shared port, as Linux keeps it: who comes is the last; where one goes, the last one takes its place. A
 * client belongs to the worker at a place that its address says, so each worker has to get back to its own.
 */
export class WorkerOrder {
  /** Workers from 0, by place. */
  readonly #places: number[] = []

  get places(): readonly number[] {
    return this.#places
  }

  join(worker: number): void {
    this.#places.push(worker)
  }

  leave(worker: number): void {
    const place = this.#places.indexOf(worker)
    const last = this.#places.pop()
    if (place >= 0 && place < this.#places.length) this.#places[place] = last as number
  }

  /** Who has to leave and join next, so that in the end each is at the place of its number; undefined when all are. */
  next(): number | undefined {
    const last = this.#places.at(-1)
    if (last === undefined) return undefined
    // The last one goes home when whoever is there leaves; when it is at home, any other that is not makes a beginning.
    const inItsPlace = last === this.#places.length - 1 ? this.#places.find((worker, place) => worker !== place) : this.#places[last]
    return inItsPlace
  }
}
