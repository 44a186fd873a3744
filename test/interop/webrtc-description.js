// @ts-check
/**
 * SDP for whole WebRTC stacks, which take ICE in no other form (JSEP, RFC 9429): data channels and nothing else. Our side has no DTLS. Either
 * it stands between two of them, and then a signal has the `fingerprint` of the other; or the fingerprint is nobody's, and the stack's
 * handshake goes unanswered.
 */

const NOBODY = Array.from({ length: 32 }, () => '00').join(':')

/**
 * A signal as a description. With nobody behind it the stack is the DTLS client, which speaks first; of two stacks it is the one that offers.
 * @param {{ ufrag: string, pwd: string, lite?: boolean, fingerprint?: string }} signal
 * @param {'offer' | 'answer'} type
 * @param {number} version counts the descriptions, from 1
 */
export function toSdp({ ufrag, pwd, lite, fingerprint }, type, version) {
  const setup = type === 'answer' ? 'passive' : fingerprint === undefined ? 'actpass' : 'active'
  const lines = [
    'v=0',
    `o=- 1 ${version} IN IP4 127.0.0.1`,
    's=-',
    't=0 0',
    'a=group:BUNDLE 0',
    ...(lite ? ['a=ice-lite'] : []),
    'm=application 9 UDP/DTLS/SCTP webrtc-datachannel',
    'c=IN IP4 0.0.0.0',
    'a=mid:0',
    `a=ice-ufrag:${ufrag}`,
    `a=ice-pwd:${pwd}`,
    'a=ice-options:trickle',
    `a=fingerprint:sha-256 ${fingerprint ?? NOBODY}`,
    `a=setup:${setup}`,
    'a=sctp-port:5000',
  ]
  return `${lines.join('\r\n')}\r\n`
}

/**
 * What a description says of ICE and DTLS.
 * @param {string} sdp
 */
export function readSdp(sdp) {
  const [, ufrag = ''] = /^a=ice-ufrag:(\S+)/m.exec(sdp) ?? []
  const [, pwd = ''] = /^a=ice-pwd:(\S+)/m.exec(sdp) ?? []
  const [, fingerprint = ''] = /^a=fingerprint:sha-256 (\S+)/im.exec(sdp) ?? []
  return { ufrag, pwd, fingerprint }
}
