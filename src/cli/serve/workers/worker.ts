/**
 * One of the processes of a relay: does what the parent says, and ends when the parent does. Signals are the parent's: a terminal and a
 * service manager send them to all processes alike.
 */
import { nodeNetwork } from '../../../net/node/index.ts'
import { createRelay, type Ledger, type LedgerVerdict, type Relay } from '../../../relay/index.ts'
import { UsageError } from '../../usage.ts'
import { asUsage } from '../errors.ts'
import { limited } from '../limited.ts'
import { listeningOf } from '../relay-service.ts'
import type { RelaySetup } from '../setup.ts'
import type { Answer, Order } from './protocol.ts'
import { ReturningNetwork } from './returning-network.ts'

/** Milliseconds between reports that nobody asked for: what is counted in between is lost with a process that is killed. */
const REPORTS = 1_000

class RelayWorker {
  readonly #network = new ReturningNetwork(nodeNetwork())
  readonly #asked = new Map<number, (verdict: LedgerVerdict) => void>()
  /** Relayed addresses of the other workers. */
  readonly #relayed = new Set<string>()
  #questions = 0
  #relay: Relay | undefined

  async obey(order: Order): Promise<void> {
    switch (order.order) {
      case 'start':
        return this.#start(order.setup)
      case 'verdict':
        this.#asked.get(order.id)?.(order.verdict)
        this.#asked.delete(order.id)
        return
      case 'relayed':
        for (const address of order.removed) this.#relayed.delete(address)
        for (const address of order.added) this.#relayed.add(address)
        return
      case 'report':
        return this.#report(order.id)
      case 'renew':
        return say({ answer: 'renewed', failure: this.#renewed(() => this.#relay?.renew(order.tls)) })
      case 'rebind':
        await this.#network.rebind()
        return say({ answer: 'rebound' })
      case 'drain':
        await this.#relay?.drain()
        return say({ answer: 'drained' })
      case 'close':
        await this.#relay?.close()
        this.#report(undefined, () => process.disconnect())
    }
  }

  async #start(setup: RelaySetup): Promise<void> {
    const log = limited((event) => say({ answer: 'event', event }))
    try {
      this.#relay = await createRelay({ ...setup, network: this.#network, ledger: this.#ledger(), log })
    } catch (error) {
      const { message } = asUsage(error) as Error
      say({ answer: 'failed', message, usage: asUsage(error) instanceof UsageError })
      return
    }
    setInterval(() => this.#report(undefined), REPORTS).unref()
    say({ answer: 'started', listening: listeningOf(this.#relay) })
  }

  #ledger(): Ledger {
    return {
      take: (user) =>
        new Promise((resolve) => {
          const id = ++this.#questions
          this.#asked.set(id, resolve)
          say({ answer: 'take', id, user })
        }),
      release: (user) => say({ answer: 'release', user }),
      relayed: (address) => this.#relayed.has(address),
    }
  }

  #report(id: number | undefined, said?: () => void): void {
    const status = this.#relay?.status()
    if (status === undefined) {
      said?.()
      return
    }
    const { user, system } = process.cpuUsage()
    say({ answer: 'report', id, status, resident: process.memoryUsage.rss(), cpu: (user + system) / 1_000 }, said)
  }

  #renewed(renew: () => void): string | undefined {
    try {
      renew()
      return undefined
    } catch (error) {
      return (error as Error).message
    }
  }
}

function say(answer: Answer, said: () => void = () => {}): void {
  // The parent may have gone: then this process goes too.
  if (process.connected) process.send?.(answer, undefined, undefined, said)
}

const worker = new RelayWorker()
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => {})
process.on('disconnect', () => process.exit(0))
process.on('message', (order: Order) => {
  worker.obey(order).catch((error: unknown) => {
    console.error(error)
    process.exit(1)
  })
})
