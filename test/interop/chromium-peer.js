// @ts-check
/**
 * Chromium's ICE, a page's RTCPeerConnection, as a process of its own: JSON lines in and out, as `foreign-agent.ts` describes, and in also
 * `{"restart":true}`. Where no DTLS answers it, only its ICE comes to something.
 * `node chromium-peer.js --controlling|--controlled [--stun host:port] [--turn json] [--loopback] [--no-trickle] [--mdns]`
 */
import { createHash, X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { chromium } from 'playwright-core'
import { toSdp } from './webrtc-description.js'

const controlling = process.argv.includes('--controlling')
const trickle = !process.argv.includes('--no-trickle')
const stun = process.argv.includes('--stun') ? process.argv[process.argv.indexOf('--stun') + 1] : undefined

/** @type {{ transport: 'udp' | 'tcp' | 'tls', host: string, port: number, username: string, password: string, ca?: string } | undefined} */
const turn = process.argv.includes('--turn') ? JSON.parse(process.argv[process.argv.indexOf('--turn') + 1] ?? '') : undefined

/**
 * Certificates that it trusts for their key, whoever they are for: it takes no CA from a command line.
 * @param {string} ca
 */
function trust(ca) {
  const key = new X509Certificate(readFileSync(ca)).publicKey.export({ type: 'spki', format: 'der' })
  return `--ignore-certificate-errors-spki-list=${createHash('sha256').update(key).digest('base64')}`
}

/** What makes it use a TURN server and nothing else. */
function configuration() {
  const iceServers = stun === undefined ? [] : [{ urls: `stun:${stun}` }]
  if (turn === undefined) return { iceServers }
  const { transport, host, port, username, password: credential } = turn
  const urls = `${transport === 'tls' ? 'turns' : 'turn'}:${host}:${port}?transport=${transport === 'udp' ? 'udp' : 'tcp'}`
  return { iceServers: [...iceServers, { urls, username, credential }], iceTransportPolicy: /** @type {const} */ ('relay') }
}

/** Nothing that goes out by itself. */
const QUIET = ['--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync', '--disable-quic']

/** @param {unknown} value */
function print(value) {
  process.stdout.write(`${JSON.stringify(value)}\n`)
}

const browser = await chromium.launch({
  executablePath: '/usr/bin/chromium',
  headless: true,
  args: [
    '--no-sandbox',
    '--disable-gpu',
    ...QUIET,
    ...(process.argv.includes('--mdns') ? [] : ['--disable-features=WebRtcHideLocalIpsWithMdns']),
    ...(process.argv.includes('--loopback') ? ['--allow-loopback-in-peer-connection'] : []),
    ...(turn?.ca === undefined ? [] : [trust(turn.ca)]),
  ],
})
const page = await browser.newPage()
await page.exposeFunction('print', print)

/** What the page does: runs there, not here. */
await page.evaluate(
  ({ controlling, trickle, configuration }) => {
    const connection = new RTCPeerConnection(configuration)
    /** @type {string[]} */
    let candidates = []
    let ended = false
    let ufrag = ''
    /** The user fragment of the last pair that was told. */
    let told = ''

    function signal() {
      const sdp = connection.localDescription?.sdp ?? ''
      const [, now = ''] = /^a=ice-ufrag:(\S+)/m.exec(sdp) ?? []
      const [, pwd = ''] = /^a=ice-pwd:(\S+)/m.exec(sdp) ?? []
      const [, fingerprint = ''] = /^a=fingerprint:sha-256 (\S+)/m.exec(sdp) ?? []
      if (now !== ufrag) {
        ufrag = now
        candidates = []
        ended = false
      }
      if (ufrag === '' || (!trickle && !ended)) return
      print({ signal: { v: 1, ufrag, pwd, fingerprint, controlling, candidates, ...(ended ? { end: true } : {}) } })
    }

    /** Says that it is connected, once for each generation. */
    async function tell() {
      const stats = new Map([...(await connection.getStats()).entries()])
      const transport = [...stats.values()].find(({ type }) => type === 'transport')
      const pair = stats.get(transport?.selectedCandidatePairId)
      const local = stats.get(pair?.localCandidateId)
      const remote = stats.get(pair?.remoteCandidateId)
      if (local === undefined || local.usernameFragment === told || local.usernameFragment !== ufrag) return
      told = ufrag
      print({
        connected: {
          controlling: transport.iceRole === 'controlling',
          local: local.candidateType,
          remote: remote?.candidateType,
          address: `${remote?.address}:${remote?.port}`,
        },
      })
    }

    connection.onicecandidate = ({ candidate }) => {
      // A candidate may come before its description is in force.
      if (candidate?.usernameFragment !== undefined && candidate.usernameFragment !== ufrag) signal()
      // The end is told twice: of this generation by an empty line, of all by null.
      if (candidate === null || candidate.candidate === '') ended = true
      else candidates.push(candidate.candidate)
      signal()
    }
    connection.oniceconnectionstatechange = () => {
      const { iceConnectionState: state } = connection
      print({ state })
      if (state === 'connected' || state === 'completed') void tell()
    }

    const PING = 'ping chromium'
    const inbox = new Set()
    let pinging = 0

    /** @param {RTCDataChannel} channel */
    function answer(channel) {
      channel.onmessage = ({ data: text }) => {
        if (!text.startsWith('pong ')) channel.send(`pong ${text}`)
        if (text === `pong ${PING}`) clearInterval(pinging)
        if (inbox.has(text)) return
        inbox.add(text)
        print({ received: text })
      }
    }

    function openChannel() {
      const channel = connection.createDataChannel('any')
      answer(channel)
      channel.onopen = () => {
        channel.send(PING)
        pinging = window.setInterval(() => channel.send(PING), 100)
      }
    }

    connection.ondatachannel = ({ channel }) => answer(channel)

    const known = new Set()
    let theirs = ''
    /** @type {Promise<void>} */
    let last = Promise.resolve()

    /**
     * @param {{ ufrag: string, for?: string, candidates: string[], end?: boolean }} remote
     * @param {{ offer: string, answer: string }} sdp
     */
    async function hear(remote, sdp) {
      if (remote.ufrag !== theirs) {
        if (remote.for !== undefined && remote.for !== ufrag) return
        theirs = remote.ufrag
        if (connection.signalingState === 'have-local-offer') await connection.setRemoteDescription({ type: 'answer', sdp: sdp.answer })
        else {
          await connection.setRemoteDescription({ type: 'offer', sdp: sdp.offer })
          const first = connection.localDescription === null
          await connection.setLocalDescription()
          // Before its role in DTLS is settled it would guess at a number for it.
          if (first) openChannel()
          signal()
        }
        // A restart changes the pair and leaves the state as it is.
        const transport = connection.sctp?.transport.iceTransport
        if (transport !== undefined) transport.onselectedcandidatepairchange = () => void tell()
      }
      // Old credentials, while an offer of ours waits for new ones.
      if (connection.signalingState !== 'stable') return
      for (const candidate of [...remote.candidates, ...(remote.end ? [''] : [])]) {
        const key = `${theirs} ${candidate}`
        if (known.has(key)) continue
        known.add(key)
        await connection.addIceCandidate({ candidate, sdpMid: '0', usernameFragment: theirs })
      }
    }

    async function offer() {
      await connection.setLocalDescription(await connection.createOffer())
      signal()
    }

    Object.assign(window, {
      /** @param {Parameters<typeof hear>} all */
      hear: (...all) => {
        last = last.then(() => hear(...all))
        return last
      },
      restart: () => {
        connection.restartIce()
        return offer()
      },
      leave: () => connection.close(),
    })
    if (!controlling) return
    // Whoever offers controls (RFC 8839 4.2.1); the answerer waits for the offer.
    openChannel()
    return offer()
  },
  { controlling, trickle, configuration: configuration() },
)

let version = 0

/** @param {{ signal?: { ufrag: string, pwd: string, fingerprint?: string, candidates: string[], bye?: boolean }, restart?: true }} line */
async function take({ signal, restart }) {
  if (restart) await page.evaluate('restart()')
  if (signal === undefined || signal.bye) return
  version++
  const sdp = { offer: toSdp(signal, 'offer', version), answer: toSdp(signal, 'answer', version) }
  await page.evaluate(`hear(${JSON.stringify(signal)}, ${JSON.stringify(sdp)})`)
}

createInterface({ input: process.stdin })
  .on('line', (line) => {
    take(JSON.parse(line)).catch((error) => print({ failed: String(error) }))
  })
  .on('close', async () => {
    // It lets go of its allocation, unless it is gone too soon.
    await page.evaluate('leave()')
    await new Promise((resolve) => setTimeout(resolve, 100))
    await browser.close()
    process.exit()
  })
