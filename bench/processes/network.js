// @ts-check
/** Three network namespaces for `forwarder.js`: two peers, and between them the forwarder, which has all public addresses and routes nothing. */
import { execFileSync, spawn } from 'node:child_process'

export const SERVER = '198.51.100.1:3478'
const PEERS = {
  a: { inside: '10.0.1.2', gateway: '10.0.1.1', outside: '203.0.113.1' },
  b: { inside: '10.0.2.2', gateway: '10.0.2.1', outside: '203.0.113.2' },
}
/** Inside address to outside address. */
export const NATS = Object.fromEntries(Object.values(PEERS).map(({ inside, outside }) => [inside, outside]))

/** @typedef {'a' | 'b' | 'between'} Place */

export class Network {
  #prefix = `sallyport-bench-${process.pid}`

  /** @throws Error where namespaces cannot be made */
  static async create() {
    const network = new Network()
    try {
      network.#build()
      await network.#settled()
    } catch (error) {
      network.close()
      throw error
    }
    return network
  }

  /** Starts a script of this folder. @param {Place} place @param {string} script @param {...string} args */
  spawn(place, script, ...args) {
    const file = new URL(script, import.meta.url).pathname
    return spawn('ip', ['netns', 'exec', this.#name(place), process.execPath, file, ...args], { stdio: ['pipe', 'pipe', 'inherit'] })
  }

  close() {
    for (const place of /** @type {const} */ (['a', 'b', 'between'])) {
      try {
        execFileSync('ip', ['netns', 'del', this.#name(place)], { stdio: 'ignore' })
      } catch {
        // it was not made
      }
    }
  }

  #build() {
    for (const place of /** @type {const} */ (['between', 'a', 'b'])) {
      execFileSync('ip', ['netns', 'add', this.#name(place)])
      const settings = 'echo 0 > /proc/sys/net/ipv4/ip_forward; echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6'
      execFileSync('ip', [
        'netns',
        'exec',
        this.#name(place),
        'sh',
        '-c',
        `${settings}; echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6`,
      ])
      this.#ip(place, ['link set lo up'])
    }
    this.#ip('between', [`addr add ${SERVER.split(':')[0]}/32 dev lo`])
    for (const [place, { inside, gateway, outside }] of /** @type {['a' | 'b', typeof PEERS.a][]} */ (Object.entries(PEERS))) {
      this.#ip('between', [
        `link add to-${place} type veth peer name eth0 netns ${this.#name(place)}`,
        `addr add ${gateway}/24 dev to-${place}`,
        `addr add ${outside}/32 dev lo`,
        `link set to-${place} up`,
      ])
      this.#ip(place, [`addr add ${inside}/24 dev eth0`, 'link set eth0 up', `route add default via ${gateway}`])
    }
  }

  /** The kernel takes a moment to find that a link has a far end, and until then Node.js does not list its addresses. */
  async #settled() {
    for (const place of /** @type {const} */ (['a', 'b'])) {
      while (!execFileSync('ip', ['-n', this.#name(place), '-brief', 'link', 'show', 'eth0'], { encoding: 'utf8' }).includes(' UP ')) {
        await new Promise((resolve) => setTimeout(resolve, 20))
      }
    }
  }

  /** @param {Place} place */
  #name(place) {
    return `${this.#prefix}-${place}`
  }

  /** @param {Place} place @param {readonly string[]} lines */
  #ip(place, lines) {
    execFileSync('ip', ['-n', this.#name(place), '-batch', '-'], { input: `${lines.join('\n')}\n` })
  }
}
