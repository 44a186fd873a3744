// @ts-check
/** Candidate lines: `parseCandidate` says ERR_CANDIDATE or gives something that reads and writes the same from then on. */
import { deepEqual, equal, ok } from 'node:assert/strict'
import { formatCandidate, fromRTCIceCandidate, parseCandidate, toRTCIceCandidate } from '../../dist/candidates/index.js'
import { SallyportError } from '../../dist/errors.js'
import { words } from '../scene/words.js'

const decoder = new TextDecoder()

const DICTIONARY = words(
  ...[
    'candidate:',
    'a=',
    'a=candidate:',
    ' 1 udp ',
    ' UDP ',
    'tcp',
    ' typ ',
    'host',
    'srflx',
    'prflx',
    'relay',
    ' raddr ',
    ' rport ',
    ' tcptype ',
  ],
  ...[' generation 0', ' ufrag ', ' network-cost 10', '4294967295', '4294967296', '2130706431', ' 0 ', ' 65535 ', ' 65536 ', '255', '256'],
  ...['192.0.2.1', '0.0.0.0', '224.0.0.1', '255.255.255.255', '127.0.0.1', '10.0.0.0/8', '1.2.3', '0x7f.1', '01.02.03.04'],
  ...[
    '2001:db8::1',
    '::',
    '::1',
    'fe80::1%eth0',
    'ff02::1',
    '::ffff:192.0.2.1',
    '[::1]',
    '64:ff9b::1.2.3.4',
    'x.local',
    '%',
    '::%25',
    '/128',
  ],
  ...['\u00a0', '\t', '\r\n', '\0', '  ', '\u2028', '\ufeff', '١'],
)

/** @returns {import('../engine/fuzzer.js').Target} */
export function candidates() {
  return {
    name: 'candidates',
    longest: 600,
    dictionary: DICTIONARY,
    mutations: [],
    prepare: async () => {},
    stale: false,
    run,
    settle: async () => {},
  }
}

/** @param {Uint8Array} input */
function run(input) {
  const line = decoder.decode(input)
  const first = parse(line)
  if (first === undefined) return
  const { address, foundation, priority, component, type } = first
  ok(address.port > 0 && address.scope !== 'unspecified' && address.scope !== 'multicast')
  ok(foundation.length > 0 && foundation.length <= 32 && component === 1)
  ok(Number.isInteger(priority) && priority > 0 && priority <= 0xffff_ffff)
  ok(['host', 'srflx', 'prflx', 'relay'].includes(type))
  const written = formatCandidate(first)
  const second = parseCandidate(written)
  deepEqual(plain(second), plain(first))
  equal(formatCandidate(second), written)
  deepEqual(plain(fromRTCIceCandidate(JSON.parse(JSON.stringify(toRTCIceCandidate(first))))), plain(first))
}

/** @param {string} line */
function parse(line) {
  try {
    return parseCandidate(line)
  } catch (error) {
    if (!(error instanceof SallyportError)) throw error
    equal(error.code, 'ERR_CANDIDATE')
    ok(error.message.length < 400, 'what a stranger wrote fills the message')
    return undefined
  }
}

/** @param {ReturnType<typeof parseCandidate>} candidate */
function plain({ address, related, ...rest }) {
  return { ...rest, address: address.key, related: related?.key }
}
