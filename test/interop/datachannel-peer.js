// @ts-check
/**
 * libdatachannel with its libjuice, through node-datachannel, as a process of its own: JSON lines in and out, as `foreign-agent.ts` describes.
 * A PeerConnection; where no DTLS answers it, only its ICE comes to something.
 * `node datachannel-peer.js --controlling|--controlled [--stun host:port] [--turn json] [--loopback] [--no-trickle]`
 */
import { createInterface } from 'node:readline'
import { PeerConnection } from 'node-datachannel'
import { readSdp, toSdp } from './webrtc-description.js'

const controlling = process.argv.includes('--controlling')
const trickle = !process.argv.includes('--no-trickle')
const stun = process.argv.includes('--stun') ? process.argv[process.argv.indexOf('--stun') + 1] : undefined

/** @type {{ host: string, port: number, username: string, password: string } | undefined} Over UDP: libjuice has nothing else. */
const turn = process.argv.includes('--turn') ? JSON.parse(process.argv[process.argv.indexOf('--turn') + 1] ?? '') : undefined

const connection = new PeerConnection('peer', {
  iceServers: [
    ...(stun === undefined ? [] : [`stun:${stun}`]),
    ...(turn === undefined
      ? []
      : [
          {
            hostname: turn.host,
            port: turn.port,
            username: turn.username,
            password: turn.password,
            relayType: /** @type {const} */ ('TurnUdp'),
          },
        ]),
  ],
  ...(turn === undefined ? {} : { iceTransportPolicy: /** @type {const} */ ('relay') }),
  // It has no option to add an address.
  ...(process.argv.includes('--loopback') ? { bindAddress: '127.0.0.1' } : {}),
})

/** @type {string[]} */
const candidates = []
const known = new Set()
let gathered = false
let described = false
let connected = false

/** @param {unknown} value */
function print(value) {
  process.stdout.write(`${JSON.stringify(value)}\n`)
}

function signal() {
  const description = connection.localDescription()
  if (description === null || (!trickle && !gathered)) return
  print({ signal: { v: 1, ...readSdp(description.sdp), controlling, candidates, ...(gathered ? { end: true } : {}) } })
}

connection.onLocalDescription(() => signal())
connection.onLocalCandidate((candidate) => {
  candidates.push(candidate.replace(/^a=/, ''))
  signal()
})
connection.onGatheringStateChange((state) => {
  if (state !== 'complete') return
  gathered = true
  signal()
})
connection.onIceStateChange((state) => {
  print({ state })
  if (connected || (state !== 'connected' && state !== 'completed')) return
  connected = true
  const pair = connection.getSelectedCandidatePair()
  const { address, port, type } = pair?.remote ?? {}
  print({ connected: { controlling, local: pair?.local.type, remote: type, address: `${address}:${port}` } })
})

const PING = 'ping libdatachannel'
const inbox = new Set()
/** @type {NodeJS.Timeout | undefined} */
let pinging

/** @param {import('node-datachannel').DataChannel} channel */
function answer(channel) {
  channel.onMessage((message) => {
    const text = String(message)
    if (!text.startsWith('pong ')) channel.sendMessage(`pong ${text}`)
    if (text === `pong ${PING}`) clearInterval(pinging)
    if (inbox.has(text)) return
    inbox.add(text)
    print({ received: text })
  })
}

function openChannel() {
  const channel = connection.createDataChannel('any')
  answer(channel)
  channel.onOpen(() => {
    channel.sendMessage(PING)
    pinging = setInterval(() => channel.sendMessage(PING), 100)
  })
}

connection.onDataChannel(answer)

/** @param {{ ufrag: string, pwd: string, fingerprint?: string, candidates: string[], bye?: boolean }} remote */
function hear(remote) {
  if (remote.bye) return
  if (!described) {
    described = true
    const type = controlling ? 'answer' : 'offer'
    connection.setRemoteDescription(toSdp(remote, type, 1), type)
    if (!controlling) openChannel()
  }
  for (const line of remote.candidates) {
    if (known.has(line)) continue
    known.add(line)
    connection.addRemoteCandidate(line, '0')
  }
}

createInterface({ input: process.stdin })
  .on('line', (line) => {
    try {
      hear(JSON.parse(line).signal)
    } catch (error) {
      print({ failed: String(error) })
    }
  })
  .on('close', () => {
    connection.close()
    process.exit()
  })

// Whoever offers controls (RFC 8839 4.2.1); the answerer waits for the offer.
if (controlling) openChannel()
