/** TURN messages put together byte by byte, with integrity by node:crypto: nothing here is as the library would have it. */
import { createHash, createHmac, randomBytes } from 'node:crypto'

export const ALLOCATE = 0x003
export const REFRESH = 0x004
export const CREATE_PERMISSION = 0x008
export const CHANNEL_BIND = 0x009
export const SEND_INDICATION = 0x016
export const BINDING = 0x001

export const CHANNEL_NUMBER = 0x000c
export const LIFETIME = 0x000d
export const XOR_PEER_ADDRESS = 0x0012
export const DATA = 0x0013
export const REQUESTED_TRANSPORT = 0x0019
export const ADDITIONAL_FAMILY = Buffer.from('8000000402000000', 'hex')
const USERNAME = 0x0006
const MESSAGE_INTEGRITY = 0x0008
const REALM = 0x0014
const NONCE = 0x0015

const COOKIE = Buffer.from('2112a442', 'hex')

export function attribute(type: number, value: Uint8Array | string): Buffer {
  const bytes = Buffer.from(value as Uint8Array)
  const whole = Buffer.alloc(4 + ((bytes.length + 3) & ~3))
  whole.writeUInt16BE(type, 0)
  whole.writeUInt16BE(bytes.length, 2)
  bytes.copy(whole, 4)
  return whole
}

export function newId(): Buffer {
  return randomBytes(12)
}

export function message(type: number, body: Uint8Array, id: Uint8Array = newId()): Buffer {
  const header = Buffer.alloc(4)
  header.writeUInt16BE(type, 0)
  header.writeUInt16BE(body.length, 2)
  return Buffer.concat([header, COOKIE, id, body])
}

export const UDP: Buffer = attribute(REQUESTED_TRANSPORT, Uint8Array.of(17, 0, 0, 0))

export function lifetime(seconds: number): Buffer {
  const value = Buffer.alloc(4)
  value.writeUInt32BE(seconds)
  return attribute(LIFETIME, value)
}

export function channelNumber(channel: number): Buffer {
  return attribute(CHANNEL_NUMBER, Uint8Array.of(channel >> 8, channel & 0xff, 0, 0))
}

/** XOR-PEER-ADDRESS with these very bytes: of family 1 when they are 4, of family 2 when they are 16. */
export function xorPeer(ip: Uint8Array, port: number, id: Uint8Array): Buffer {
  const mask = Buffer.concat([COOKIE, id])
  const value = Buffer.alloc(4 + ip.length)
  value[1] = ip.length === 4 ? 1 : 2
  value.writeUInt16BE(port ^ 0x2112, 2)
  for (let i = 0; i < ip.length; i++) value[4 + i] = ip[i]! ^ mask[i]!
  return attribute(XOR_PEER_ADDRESS, value)
}

export function ip4(text: string): Buffer {
  return Buffer.from(text.split('.').map(Number))
}

export interface Credentials {
  readonly username: string
  readonly realm: string
  readonly nonce: string
  readonly key: Buffer
}

/** The key of RFC 8489 9.2.2. */
export function longTermKey(username: string, realm: string, password: string): Buffer {
  return createHash('md5').update(`${username}:${realm}:${password}`).digest()
}

/** A request with credentials in front of the body, and MESSAGE-INTEGRITY behind it. */
export function sealed(type: number, body: Uint8Array, { username, realm, nonce, key }: Credentials, id: Uint8Array = newId()): Buffer {
  return withIntegrity(
    message(type, Buffer.concat([attribute(USERNAME, username), attribute(REALM, realm), attribute(NONCE, nonce), body]), id),
    key,
  )
}

/** MESSAGE-INTEGRITY over whatever is there; the header's length is set right. */
export function withIntegrity(data: Uint8Array, key: Buffer): Buffer {
  const whole = Buffer.alloc(data.length + 24)
  whole.set(data)
  whole.writeUInt16BE(whole.length - 20, 2)
  const tag = createHmac('sha1', key).update(whole.subarray(0, data.length)).digest()
  whole.writeUInt16BE(MESSAGE_INTEGRITY, data.length)
  whole.writeUInt16BE(20, data.length + 2)
  tag.copy(whole, data.length + 4)
  return whole
}

export function channelData(channel: number, payload: Uint8Array, padded: boolean): Buffer {
  const size = 4 + payload.length
  const whole = Buffer.alloc(padded ? (size + 3) & ~3 : size)
  whole.writeUInt16BE(channel, 0)
  whole.writeUInt16BE(payload.length, 2)
  whole.set(payload, 4)
  return whole
}
