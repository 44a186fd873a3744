// @ts-check
/**
 * The internet between two peers, as one process of plain UDP sockets: a STUN server and a NAT for each peer (endpoint-independent mapping,
 * address- and port-dependent filtering, random ports, no hairpin), everything one delay away from everything.
 *
 * It owns all public addresses. A peer's packet to the server or to the other's external port arrives here as it left the peer; the peer's
 * own external port is a socket here too, from which the packet goes on, one delay later, if the other NAT lets it in.
 *
 * `node forwarder.js '{"delay":20,"server":"ip:port","nats":{"<inside ip>":"<outside ip>"}}'`; a line `reset` forgets all mappings.
 */
import { createSocket } from 'node:dgram'
import { createInterface } from 'node:readline'
import { Address } from '../../dist/index.js'
import { Attribute, Message, MessageWriter, Method } from '../../dist/stun/index.js'
import { DelayLine } from './delay-line.js'

/** @type {{ delay: number, server: string, nats: Record<string, string> }} */
const { delay, server, nats } = JSON.parse(process.argv[2] ?? '')
const line = new DelayLine(delay)
const writer = new MessageWriter()

/**
 * @typedef {import('node:dgram').RemoteInfo} Remote
 * @typedef {{ socket: import('node:dgram').Socket, outside: string, inside: Remote, permitted: Set<string>, over: boolean }} Mapping
 * @type {Map<string, Promise<Mapping>>}
 */
const mappings = new Map()

/** @param {{ address: string, port: number }} address */
const keyOf = ({ address, port }) => `${address}:${port}`

/** @param {string} ip @param {number} port @param {(data: Buffer, from: Remote) => void} receive */
async function bind(ip, port, receive) {
  const socket = createSocket({ type: 'udp4', lookup: (host, _options, done) => done(null, host, 4) })
  await new Promise((resolve, reject) => {
    socket.once('error', reject).bind({ address: ip, port, exclusive: true }, () => resolve(undefined))
  })
  // A peer that is gone is told by ICMP: not our business.
  return socket
    .removeAllListeners('error')
    .on('error', () => {})
    .on('message', receive)
}

/** The mapping of an inside address, made for its first packet; undefined for a packet of nobody's. @param {Remote} inside */
function mappingOf(inside) {
  const ip = nats[inside.address]
  if (ip === undefined) return undefined
  const key = keyOf(inside)
  const known = mappings.get(key)
  if (known !== undefined) return known
  const made = map(ip, inside)
  mappings.set(key, made)
  return made
}

/** @param {string} ip @param {Remote} inside @returns {Promise<Mapping>} */
async function map(ip, inside) {
  const socket = await bind(ip, 0, (data, from) => void toPeer(mapping, data, from))
  const mapping = { socket, outside: keyOf(socket.address()), inside, permitted: new Set(), over: false }
  return mapping
}

/** A packet of one peer to the other's external address. @param {Mapping} to @param {Buffer} data @param {Remote} from */
async function toPeer(to, data, from) {
  const sender = await mappingOf(from)
  if (sender === undefined) return
  sender.permitted.add(to.outside)
  line.add(() => {
    if (sender.over || to.inside.address === sender.inside.address || !to.permitted.has(sender.outside)) return
    sender.socket.send(data, to.inside.port, to.inside.address)
  })
}

const [serverIp = '', serverPort] = server.split(':')
const stun = await bind(serverIp, Number(serverPort), async (data, from) => {
  const mapping = await mappingOf(from)
  const request = Message.read(data)
  if (mapping === undefined || request === undefined || request.class !== 'request') return
  const [ip = '', port] = mapping.outside.split(':')
  writer.start('success', Method.Binding, request.transactionId)
  const response = Buffer.from(
    writer
      .address(Attribute.XorMappedAddress, Address.of(ip, Number(port)))
      .fingerprint()
      .finish(),
  )
  // There and back again.
  line.add(() => line.add(() => stun.send(response, from.port, from.address)))
})

async function reset() {
  const old = await Promise.all(mappings.values())
  mappings.clear()
  for (const mapping of old) {
    mapping.over = true
    mapping.socket.close()
  }
  console.log('reset')
}

createInterface({ input: process.stdin })
  .on('line', () => void reset())
  .on('close', () => process.exit())
console.log('ready')
