/** A host that knocks at the UDP ports of others, or answers where others knock. */
import { fileURLToPath } from 'node:url'
import { JsonProgram } from './json-program.ts'
import type { KernelNet, Node } from './namespaces.ts'

/** Milliseconds. For what has to be heard, on a machine that is busy; and for what must not be. */
const PATIENCE = 5_000
const SILENCE = 300

interface Answer {
  readonly answer: number
  readonly from?: string
}

export class Knocker extends JsonProgram<Answer> {
  #orders = 0

  constructor(net: KernelNet, node: Node) {
    super(net, node, 'knocks', fileURLToPath(new URL('knock-peer.js', import.meta.url)), [])
  }

  /** Answers what comes to this port of its host. */
  async echo(ip: string, port: number): Promise<void> {
    await this.#order({ echo: { ip, port } })
  }

  /** Whether somebody answers there, from the address that was asked: waits for it as long as it takes. */
  async reaches(ip: string, port: number): Promise<boolean> {
    return (await this.#order({ ip, port, within: PATIENCE })).from === `${ip} ${port}`
  }

  /** Whether nobody answers there, in a time in which anybody would. */
  async isShut(ip: string, port: number): Promise<boolean> {
    return (await this.#order({ ip, port, within: SILENCE })).from === undefined
  }

  #order(order: object): Promise<Answer> {
    const id = ++this.#orders
    this.write({ id, ...order })
    return this.find(({ answer }) => answer === id)
  }
}
