// @ts-check
/** What a channel that carries more than JSON (structuredClone, a shared process) may bring in place of anything. */

/** @type {readonly (() => unknown)[]} */
const ODD = [
  () => undefined,
  () => null,
  () => true,
  () => false,
  () => Number.NaN,
  () => Number.POSITIVE_INFINITY,
  () => -0,
  () => -1,
  () => 0.5,
  () => 2 ** 53,
  () => 1n,
  () => Symbol('odd'),
  () => '',
  () => 'x'.repeat(100_000),
  () => '\ud800',
  () => [],
  () => [[]],
  () => new Array(64), // holes
  () => Array.from({ length: 129 }, () => 'candidate:1 1 udp 1 192.0.2.1 1 typ host'),
  () => ({}),
  () => Object.create(null),
  () => ({ length: 1, 0: 'candidate:1 1 udp 1 192.0.2.1 1 typ host' }),
  () => ({ toString: 7, valueOf: 7 }),
  () => new Map([['v', 1]]),
  () => new Date(Number.NaN),
  () => new String('text'),
  () => new Number(1),
  () => Object('abcdefghijklmnopqrstuvwxyz'),
  () => new Uint8Array(8),
  () => /x/,
  () => () => 1,
  () => {
    /** @type {{ itself?: unknown }} */
    const ring = {}
    ring.itself = ring
    return ring
  },
]

/** @param {number} choice */
export function oddValue(choice) {
  return /** @type {() => unknown} */ (ODD[choice % ODD.length])()
}
