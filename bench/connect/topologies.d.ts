import type { HostOptions, Lab, LabHost, LabOptions, Router, RouterOptions } from '../../src/lab/index.ts'

export interface Kind {
  readonly name: string
  /** For the head of a table. */
  readonly short: string
  /** The nearest first. */
  readonly routers: readonly RouterOptions[]
}

/** Two hosts to be built into an empty lab. */
export interface Cell {
  readonly name: string
  /** Of the public internet; IPv4 alone by default. */
  readonly families?: LabOptions['families']
  build(lab: Lab): [LabHost, LabHost]
}

export interface PairCell extends Cell {
  readonly row: Kind
  readonly column: Kind
}

export const KINDS: readonly Kind[]
export const PAIRS: readonly PairCell[]
export const RELATIONS: readonly Cell[]
export function routersOf(lab: Lab, name: string, routers: readonly RouterOptions[], outer: Router | undefined): Router | undefined
export function hostBehind(lab: Lab, name: string, routers: readonly RouterOptions[], options?: HostOptions): LabHost
