export declare class Coverage {
  /** Takes over the counters of every module loaded so far: call it after the last import. */
  constructor()
  readonly size: number
  readonly total: number
  reset(): void
  news(): number[]
  features(): number[]
}
