/** A program in a namespace that has a port mapped, see `mapping-peer.js`. */
import { fileURLToPath } from 'node:url'
import type { MapPortOptions } from '../../src/port-mapping.ts'
import { JsonProgram } from './json-program.ts'
import type { KernelNet, Node } from './namespaces.ts'

export interface MappingLine {
  readonly event?: 'mapped' | 'change' | 'lost' | 'failed' | 'closed'
  /** Milliseconds since 1970. */
  readonly at: number
  readonly address?: string
  readonly port?: number
  readonly via?: string
  readonly router?: string
  readonly expiresIn?: number
  readonly verified?: boolean
  readonly code?: string
  readonly message?: string
  /** It asks whether a packet comes in, by this number. */
  readonly verify?: number
}

export type MappingPeerOptions = Omit<MapPortOptions, 'verify' | 'signal' | 'network'>

export class MappingPeer extends JsonProgram<MappingLine> {
  /** @param verify tells whether a packet from outside comes in there */
  constructor(
    net: KernelNet,
    node: Node,
    options: MappingPeerOptions,
    verify?: (address: string | undefined, port: number) => Promise<boolean>,
  ) {
    const given = { ...options, verify: verify !== undefined }
    super(net, node, 'maps a port', fileURLToPath(new URL('mapping-peer.js', import.meta.url)), [JSON.stringify(given)])
    if (verify === undefined) return
    this.each(({ verify: id, address, port = 0 }) => {
      if (id !== undefined) void verify(address, port).then((arrived) => this.write({ id, arrived }))
    })
  }

  /** How the attempt ended. Rejects when the program does before. */
  mapped(): Promise<MappingLine> {
    return this.find(({ event }) => event === 'mapped' || event === 'failed')
  }
}
