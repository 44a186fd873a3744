// @ts-check
/**
 * What the peers of both implementations have in common. Lines in: `{"go":{"stun":"ip:port","controlling":bool}}`, then `{"signal":…}`.
 * Lines out: `{"ready":true}` when everything is loaded and nothing has begun, `{"signal":…}`, and `{"done":true,"marks":[{what,at},…]}` once
 * our datagram has been answered: data has gone both ways.
 */
import { createInterface } from 'node:readline'
import { now } from './delay-line.js'

/** Until the answer is there. */
const PING_INTERVAL = 10
const PING = Buffer.from('ping')
const PONG = Buffer.from('pong')

/** Told at the end, so that telling costs nothing meanwhile. @type {{ what: string, at: number }[]} */
const marks = []

/** For the time line. @param {string} what */
export function mark(what) {
  marks.push({ what, at: now() })
}

/** @param {unknown} signal */
export function tell(signal) {
  print({ signal })
}

/** @typedef {{ send: (data: Buffer) => void, hear: (signal: any) => void, close: () => Promise<void> }} Peer */

/** @param {(go: { stun: string, controlling: boolean }) => Promise<Peer>} begin */
export function run(begin) {
  /** @type {Promise<Peer> | undefined} */
  let peer
  createInterface({ input: process.stdin })
    .on('line', (line) => {
      const { go, signal } = JSON.parse(line)
      if (go !== undefined) {
        mark('go')
        peer = begin(go)
      }
      if (signal !== undefined) peer?.then((opened) => opened.hear(signal))
    })
    .on('close', async () => {
      await (await peer)?.close()
      process.exit()
    })
  print({ ready: true })
}

/** The datagrams of one peer. @param {(data: Buffer) => void} send */
export function conversation(send) {
  let connected = false
  let asked = false
  /** @type {NodeJS.Timeout | undefined} */
  let repeating
  return {
    /** There is a path. */
    start() {
      if (connected) return
      connected = true
      mark('connected')
      const ping = () => send(PING)
      repeating = setInterval(ping, PING_INTERVAL)
      ping()
      if (asked) send(PONG)
    },
    /** @param {Uint8Array} data */
    receive(data) {
      if (PING.equals(data)) {
        if (!asked) mark('first datagram')
        asked = true
        if (connected) send(PONG)
      } else if (PONG.equals(data) && repeating !== undefined) {
        clearInterval(repeating)
        repeating = undefined
        mark('answered')
        print({ done: true, marks })
      }
    },
  }
}

/** @param {unknown} value */
function print(value) {
  process.stdout.write(`${JSON.stringify(value)}\n`)
}
