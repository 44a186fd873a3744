/**
 * WANIPv6FirewallControl:1: holes in a router's IPv6 firewall. No address changes, so external is internal. The router takes the request from
 * the address alone that the hole is for, which is where our connections come from.
 */
import { SallyportError } from '../../errors.ts'
import type { Grant, MappingRequest, MappingTransport } from '../protocol.ts'
import type { Service } from './description.ts'
import type { HttpClient } from './http.ts'
import { isUnknownAction, portTaken } from './refusal.ts'
import { invoke, UpnpFault } from './soap.ts'
import type { Standing } from './standing.ts'

/** WANIPv6FirewallControl:1 2.4.17: one second to one day. */
const LONGEST_LEASE = 86_400
/** IANA's protocol numbers. */
const PROTOCOLS: Readonly<Record<MappingTransport, number>> = { udp: 17, tcp: 6 }
const NO_SUCH_ENTRY = 704

/** What a grant remembers of a hole. */
export interface PinholeMemory {
  readonly kind: 'pinhole'
  readonly type: string
  readonly control: string
  readonly id: string
}

export class FirewallControl {
  readonly service: Service
  readonly #http: HttpClient

  constructor(service: Service, http: HttpClient) {
    this.service = service
    this.#http = http
  }

  /** Whether holes are allowed. Rejects with `UpnpFault` or SallyportError. */
  async standing(): Promise<Standing> {
    const values = await invoke(this.#http, this.service, 'GetFirewallStatus')
    const enabled = isTrue(values.get('FirewallEnabled'))
    const allowed = isTrue(values.get('InboundPinholeAllowed'))
    const state = !enabled ? 'FirewallDisabled' : allowed ? 'InboundPinholeAllowed' : 'InboundPinholeNotAllowed'
    return { state, external: undefined, isConnected: enabled && allowed }
  }

  /** Makes a hole or prolongs one. Rejects with `UpnpFault` or SallyportError. */
  async map(request: MappingRequest, memory: PinholeMemory | undefined): Promise<Grant> {
    const { transport, internal, exact = false, externalPort } = request
    if (exact && externalPort !== internal.port) throw portTaken(externalPort)
    const lease = Math.min(LONGEST_LEASE, Math.max(1, Math.ceil(request.lifetime / 1000)))
    const id = (memory === undefined ? undefined : await this.#update(memory.id, lease)) ?? (await this.#add(request, lease))
    const { type, control } = this.service
    const kept: PinholeMemory = { kind: 'pinhole', type, control: `${control.address.key}${control.path}`, id }
    return { protocol: 'upnp', transport, internal, external: internal, lifetime: lease * 1000, memory: kept }
  }

  async unmap({ id }: PinholeMemory): Promise<void> {
    try {
      await invoke(this.#http, this.service, 'DeletePinhole', [['UniqueID', id]])
    } catch (error) {
      if (!isGone(error)) throw error
    }
  }

  async #add({ transport, internal }: MappingRequest, lease: number): Promise<string> {
    const values = await invoke(this.#http, this.service, 'AddPinhole', [
      ['RemoteHost', ''],
      ['RemotePort', 0],
      ['InternalClient', internal.ip],
      ['InternalPort', internal.port],
      ['Protocol', PROTOCOLS[transport]],
      ['LeaseTime', lease],
    ])
    const id = values.get('UniqueID') ?? ''
    if (/^[\w.:-]{1,64}$/.test(id)) return id
    throw new SallyportError('ERR_MAPPING_ANSWER', 'the router gives a pinhole without an id')
  }

  /** Undefined when the hole is gone, or cannot be prolonged: another one is needed. */
  async #update(id: string, lease: number): Promise<string | undefined> {
    try {
      await invoke(this.#http, this.service, 'UpdatePinhole', [
        ['UniqueID', id],
        ['NewLeaseTime', lease],
      ])
      return id
    } catch (error) {
      if (isGone(error) || isUnknownAction(error)) return undefined
      throw error
    }
  }
}

/** An id is all that these actions take besides a lease, which was valid before: invalid arguments (402) is what miniupnpd says of ids that it has no more. */
function isGone(error: unknown): boolean {
  return error instanceof UpnpFault && (error.code === NO_SUCH_ENTRY || error.code === 402)
}

function isTrue(text: string | undefined): boolean {
  return text === '1' || text?.toLowerCase() === 'true' || text?.toLowerCase() === 'yes'
}
