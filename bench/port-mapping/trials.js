// @ts-check
/** What each contestant is put to: a router in some state, and what its packet filter and a host outside say afterwards. */
import { setTimeout as delay } from 'node:timers/promises'
import { Contestant, LIMIT } from './contestant.js'

/**
 * @typedef {import('./network.js').Home} Home
 * @typedef {import('./network.js').MiniupnpdOptions} MiniupnpdOptions
 * @typedef {import('./client.js').Task} Task
 * @typedef {{ cell: string, good: boolean, why?: string | undefined }} Verdict
 * @typedef {(use: Use) => Promise<Verdict>} Judge
 * @typedef {{ home: Home, contestant: Contestant, said: import('./contestant.js').Word }} Use
 * @typedef {{ name: string, options?: MiniupnpdOptions, task?: Partial<Task>, before?(home: Home): Promise<void>, judge: Judge }} Trial
 */

const OTHER_PORT = 5_555
/** Seconds of a lease that is to be outlived, as asked for and as the router caps PCP. */
const LEASE = 8
/** Milliseconds after which what somebody says has come true, at the latest. */
const SETTLE = 1_000
/** Milliseconds that a router has run before it starts anew: else its clock could not tell that it did. */
const UPTIME = 4_000

/** @param {boolean} good @param {string} cell @returns {Verdict} */
const verdict = (good, cell = good ? 'yes' : 'no') => ({ good, cell })

/** The port outside that leads to it, as the packet filter has it. @param {Use} use */
async function portOf({ home, contestant: { task } }) {
  const openings = (await home.daemon?.openings()) ?? []
  return openings.find(({ transport, internal }) => transport === 'udp' && internal.ip === task.ip && internal.port === task.internalPort)
    ?.external.port
}

/** @param {Use} use @param {boolean} there @param {number} within milliseconds @returns how long it took, or undefined */
async function until(use, there, within) {
  const from = performance.now()
  while (performance.now() - from < within) {
    if (((await portOf(use)) !== undefined) === there) return performance.now() - from
    await delay(100)
  }
  return undefined
}

/** @type {Judge} */
async function isMapped(use) {
  return verdict((await until(use, true, SETTLE)) !== undefined)
}

/** @type {readonly Trial[]} */
export const TRIALS = [
  { name: 'maps by PCP', options: { upnp: false, pxp: 'pcp' }, judge: isMapped },
  { name: 'maps by NAT-PMP', options: { upnp: false, pxp: 'nat-pmp' }, judge: isMapped },
  { name: 'maps by UPnP IGDv2', options: { pxp: false }, judge: isMapped },
  { name: 'maps by UPnP IGDv1', options: { pxp: false, igd1: true }, judge: isMapped },
  { name: 'opens an IPv6 firewall', task: { family: 6 }, judge: isMapped },
  {
    name: 'reachable from outside',
    judge: async (use) => {
      const port = await portOf(use)
      return verdict(port !== undefined && (await use.home.outside.reaches(use.home.router.ip4, port)))
    },
  },
  {
    name: 'asked port is given',
    task: { externalPort: OTHER_PORT },
    judge: async (use) => verdict((await portOf(use)) === OTHER_PORT),
  },
  {
    name: 'port taken: another, and told',
    task: { externalPort: OTHER_PORT },
    before: (home) => home.occupy(OTHER_PORT),
    judge: async (use) => {
      const port = await portOf(use)
      if (port === undefined) return verdict(false, use.said.event === 'mapped' ? 'none, says yes' : 'none')
      return verdict(use.said.port === port, use.said.port === port ? 'yes' : 'not told')
    },
  },
  { name: 'a lost packet is sent again', before: (home) => home.loseFirst(), judge: isMapped },
  {
    name: 'nothing left after close',
    judge: async (use) => {
      if ((await portOf(use)) === undefined) return verdict(false, 'not mapped')
      const { event } = await use.contestant.order('close')
      if ((await portOf(use)) !== undefined) return verdict(false)
      return verdict(event === 'closed', event === 'closed' ? 'yes' : `gone, ${event}`)
    },
  },
  {
    name: 'back after a router restart',
    judge: async (use) => {
      if ((await portOf(use)) === undefined) return verdict(false, 'not mapped')
      await delay(UPTIME)
      await use.home.daemon?.kill()
      await delay(1_000)
      await use.home.daemon?.start()
      const ms = await until(use, true, LIMIT)
      return verdict(ms !== undefined, ms === undefined ? `not in ${LIMIT / 1_000} s` : `${ms.toFixed(0)} ms`)
    },
  },
  {
    // There when its lease is over, and gone when it is over after a crash: else the lease was not what was asked for.
    name: `outlives a lease of ${LEASE} s`,
    options: { lifetimes: [1, LEASE] },
    task: { lease: LEASE },
    judge: async (use) => {
      if ((await portOf(use)) === undefined) return verdict(false, 'not mapped')
      await delay(2_500 * LEASE)
      if ((await portOf(use)) === undefined) return verdict(false)
      await use.contestant.kill()
      const gone = await until(use, false, 2_000 * LEASE)
      return verdict(gone !== undefined, gone === undefined ? 'asks for more' : 'yes')
    },
  },
]

/** @param {Home} home @param {string} name @param {string} folder @param {Trial} trial @returns {Promise<Verdict>} */
export async function attempt(home, name, folder, { options = {}, task = {}, before, judge }) {
  await home.begin(options)
  await before?.(home)
  const contestant = new Contestant(home, name, folder, task)
  try {
    const said = await contestant.map()
    const { event, why } = said
    // Whatever it brought about by then: a program of somebody's has crashed there, or waits for ever.
    const result = event === 'crashed' || event === 'hangs' ? verdict(false, event) : await judge({ home, contestant, said })
    return { ...result, why }
  } finally {
    await contestant.kill()
  }
}

/** Milliseconds from the call until it is mapped, everything being loaded. @param {Home} home @param {string} name @param {string} folder */
export async function time(home, name, folder) {
  await home.begin({})
  const contestant = new Contestant(home, name, folder)
  try {
    return (await contestant.map()).ms
  } finally {
    await contestant.kill()
  }
}
