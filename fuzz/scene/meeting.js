// @ts-check
/**
 * Two peers and a STUN server on the virtual internet, at a moment of their meeting, the same every time. `a` is the one that inputs go
 * to; beside its session with `b` it waits for another peer, `c`, which never comes.
 */
import { createTraversal } from '../../dist/index.js'
import { createLab } from '../../dist/lab/index.js'
import { Address } from '../../dist/net/index.js'
import { createStunServer } from '../../dist/stun/index.js'
import { WatchedNetwork } from './watched-network.js'

/** @typedef {import('../../dist/index.js').Signal} Signal */
/** @typedef {import('../../dist/index.js').Session} Session */

const SERVER = 'stun:stun.example.net'
export const STRANGER = Address.of('198.51.100.66', 6_666)

/** Milliseconds that a signal takes. */
const SIGNALLING = 20

export class Meeting {
  lab = createLab({ seed: 5 })
  /** The signals of each, oldest first. @type {Record<'a' | 'b' | 'c', Signal[]>} */
  said = { a: [], b: [], c: [] }
  /** What a's sessions gave to their user. @type {Uint8Array[]} */
  delivered = []
  network = new WatchedNetwork(this.lab.host('a'))
  /** Set by `open`. @type {any} */
  traversal
  /** @type {any} */
  session
  /** @type {any} */
  other
  /** @type {any} */
  peer
  /** Signals are carried. */
  carrying = true

  async open() {
    const { lab, said } = this
    const host = lab.host('stun.example.net')
    await createStunServer({ network: host })
    lab.dns.set(
      'stun.example.net',
      host.addresses.map(({ ip }) => ip),
    )
    this.server = Address.of(/** @type {{ ip: string }} */ (host.addresses[0]).ip, 3_478)
    this.traversal = await createTraversal({ network: this.network, servers: [SERVER] })
    this.peerTraversal = await createTraversal({ network: lab.host('b'), servers: [SERVER] })
    this.session = this.traversal.connect({ peer: 'b' })
    this.other = this.traversal.connect({ peer: 'c' })
    this.peer = this.peerTraversal.connect({ peer: 'a' })
    for (const session of [this.session, this.other]) session.on('message', (/** @type {Uint8Array} */ data) => this.delivered.push(data))
    this.other.on('signal', (/** @type {Signal} */ signal) => said.c.push(signal))
    this.#carry(this.session, said.a, this.peer)
    this.#carry(this.peer, said.b, this.session)
    this.local = Address.of(...socketOf(this.traversal))
    this.remote = Address.of(...socketOf(this.peerTraversal))
  }

  /** Lets time pass, a millisecond at a time, with turns for promises in between. @param {number} milliseconds */
  async pass(milliseconds) {
    for (let i = 0; i < milliseconds; i++) {
      this.lab.advance(1)
      for (let turn = 0; turn < 4; turn++) await undefined
    }
  }

  /** All that what does not prove itself must not be able to change. */
  state() {
    const { log: _log, refused: _refused, ...rest } = this.session.explain()
    const { dropped: _dropped, ...status } = this.traversal.status()
    const other = this.other.explain()
    return JSON.stringify([rest, other.pairs, other.remoteCandidates, other.state, status, this.network.timers, this.network.sent.length])
  }

  /** Datagrams that a has delivered or counted. */
  get counted() {
    let sum = 0
    for (const count of Object.values(this.traversal.status().dropped)) sum += count
    for (const { status } of [this.session, this.other]) sum += status.received + status.unproven
    return sum
  }

  async close() {
    await this.traversal.close()
    await this.peerTraversal?.close()
  }

  /** @param {Session} from @param {Signal[]} said @param {Session} to */
  #carry(from, said, to) {
    from.on('signal', (signal) => {
      said.push(signal)
      const text = JSON.stringify(signal)
      if (this.carrying) this.lab.after(SIGNALLING, () => void to.signal(JSON.parse(text)))
    })
  }
}

/** @param {import('../../dist/index.js').Traversal} traversal @returns {[string, number]} */
function socketOf(traversal) {
  const [ip = '', port = ''] = (traversal.status().sockets[0] ?? '').split(':')
  return [ip, Number(port)]
}
