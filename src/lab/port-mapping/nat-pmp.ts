/** The router's side of NAT-PMP, RFC 6886: bytes in, bytes out. */
import { Address } from '../../net/index.ts'
import type { Protocol } from '../packet.ts'
import { granted, obstacle, type Setting } from './setting.ts'

/** RFC 6886 3.5. */
const RESULT = { success: 0, version: 1, refused: 2, offline: 3, full: 4, opcode: 5 } as const
const RESPONSE = 0x80
const ADDRESS = 0
const UDP = 1
const TCP = 2

/** The answer to a request of version 0; undefined for what is none. */
export function answerNatPmp(setting: Setting, request: Uint8Array, from: Address): Uint8Array | undefined {
  const opcode = request[1] ?? RESPONSE
  if (opcode >= RESPONSE) return undefined
  if (opcode === ADDRESS) return externalAddress(setting)
  if (opcode !== UDP && opcode !== TCP) return head(setting, 8, opcode, RESULT.opcode)
  return request.length < 12 ? undefined : map(setting, request, from, opcode === UDP ? 'udp' : 'tcp')
}

/** RFC 6886 3.5: how a router of version 0 answers all others, PCP's too (RFC 6887 A). */
export function refuseVersion(setting: Setting, request: Uint8Array): Uint8Array | undefined {
  const opcode = request[1] ?? RESPONSE
  return opcode >= RESPONSE ? undefined : head(setting, 8, opcode, RESULT.version)
}

/** RFC 6886 3.2: also what is announced. */
export function externalAddress(setting: Setting): Uint8Array {
  const why = obstacle(setting, 'nat-pmp')
  const result = setting.translates && why !== 'offline' ? (why === 'refused' ? RESULT.refused : RESULT.success) : RESULT.offline
  const answer = head(setting, 12, ADDRESS, result)
  const address = Address.tryOf(setting.told(), 0)
  if (result === RESULT.success && address?.family === 4) answer.set(address.bytes, 8)
  return answer
}

function map(setting: Setting, request: Uint8Array, from: Address, transport: Protocol): Uint8Array {
  const view = new DataView(request.buffer, request.byteOffset, request.byteLength)
  const internal = from.withPort(view.getUint16(4))
  const seconds = view.getUint32(8)
  const opcode = view.getUint8(1)
  const why = setting.translates ? obstacle(setting, 'nat-pmp') : 'offline'
  if (why === 'refused') return mapped(setting, opcode, RESULT.refused, internal.port)
  if (seconds === 0) {
    remove(setting, transport, internal)
    return mapped(setting, opcode, RESULT.success, internal.port)
  }
  if (why !== undefined) return mapped(setting, opcode, RESULT[why], internal.port)
  if (internal.port === 0) return mapped(setting, opcode, RESULT.refused, 0)
  const { leases } = setting
  const lifetime = granted(setting, seconds * 1000, { longest: 86_400_000 })
  const asked = { protocol: 'nat-pmp', transport, internal, externalPort: view.getUint16(6), lifetime, exact: false } as const
  const lease = leases.grant(asked, leases.of('nat-pmp', transport, internal))
  if (lease === 'taken') return mapped(setting, opcode, RESULT.full, internal.port)
  return mapped(setting, opcode, RESULT.success, internal.port, lease.externalPort, Math.floor(lifetime / 1000))
}

/** RFC 6886 3.4: port 0 stands for all that a host has of a transport. */
function remove({ leases }: Setting, transport: Protocol, internal: Address): void {
  for (const lease of leases.all()) {
    const mine = lease.request.protocol === 'nat-pmp' && lease.transport === transport && lease.internal.sameIp(internal)
    if (mine && (internal.port === 0 || lease.internal.port === internal.port)) leases.remove(lease)
  }
}

function mapped(setting: Setting, opcode: number, result: number, internalPort: number, externalPort = 0, seconds = 0): Uint8Array {
  const answer = head(setting, 16, opcode, result)
  const view = new DataView(answer.buffer)
  view.setUint16(8, internalPort)
  view.setUint16(10, externalPort)
  view.setUint32(12, seconds)
  return answer
}

function head(setting: Setting, length: number, opcode: number, result: number): Uint8Array {
  const answer = new Uint8Array(length)
  const view = new DataView(answer.buffer)
  view.setUint8(1, RESPONSE | opcode)
  view.setUint16(2, result)
  view.setUint32(4, setting.epochSeconds())
  return answer
}
