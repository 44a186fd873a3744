/**
 * How large a fleet has to be, from what goes over it at the busiest time of the day.
 *
 *     node examples/fleet/size.js --sessions 10000 --relayed 0.15 --kbits 2000 --bytes 1100
 *
 * Of so many sessions at once that part is relayed, by one relay; each end sends so many kbit/s in datagrams of so many bytes. Traffic counts IP
 * and UDP headers, and four bytes of TURN on one of the two legs. What a core carries was measured on loopback (docs/scaling.md), so half of
 * it is planned with. --clients are the programs that keep allocations, --keep of them each; --average is the month's mean beside the busiest time.
 */
import { parseArgs } from 'node:util'

const defaults = { sessions: '10000', relayed: '0.15', kbits: '1000', bytes: '1200', clients: '', keep: '2', average: '0.4' }
const options = Object.fromEntries(Object.entries(defaults).map(([name, value]) => [name, { type: 'string', default: value }]))
const { values } = parseArgs({ options })
const { sessions, relayed, kbits, bytes, keep, average } = Object.fromEntries(
  Object.entries(values).map(([name, value]) => [name, Number(value)]),
)
const clients = values.clients === '' ? sessions * 2 : Number(values.clients)

/** Datagrams a second of a core, half of what it can: one of coturn's, and one of `sallyport serve`. */
const COTURN_CORE = 350_000 / 2
const SERVE_CORE = 170_000 / 2
/** Bytes of memory of an idle allocation of coturn's, and the ports of an address. */
const ALLOCATION = 22_000
const PORTS = 65_536 - 49_152
const OVERHEAD = 20 + 8 + 4 / 2
const MONTH = 30.4 * 86_400

const datagrams = (sessions * relayed * 2 * kbits * 1_000) / 8 / bytes
const bits = datagrams * (bytes + OVERHEAD) * 8
const allocations = clients * keep

const rows = {
  'relayed sessions': sessions * relayed,
  'datagrams/s': Math.round(datagrams),
  'Mbit/s in, and as much out': Math.round(bits / 1e6),
  'cores, coturn': Math.ceil(datagrams / COTURN_CORE),
  'cores, sallyport serve': Math.ceil(datagrams / SERVE_CORE),
  allocations,
  'MB of memory for them': Math.round((allocations * ALLOCATION) / 1e6),
  'addresses for their ports': Math.ceil(allocations / PORTS),
  'TB a month out': Math.round(((bits / 8) * average * MONTH) / 1e12),
}
for (const [what, value] of Object.entries(rows)) console.log(`${what.padEnd(28)}${value.toLocaleString('en')}`)
