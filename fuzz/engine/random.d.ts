export declare class Random {
  constructor(seed: number)
  uint32(): number
  below(limit: number): number
  of<T>(choices: readonly T[]): T
}
