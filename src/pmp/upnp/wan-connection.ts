/**
 * WANIPConnection and WANPPPConnection, versions 1 and 2 (UPnP Forum): the actions of one connection of a router that have to do with IPv4
 * port mappings. In what order they are tried is in wan-mapping.ts.
 */
import { SallyportError } from '../../errors.ts'
import { Address } from '../../net/index.ts'
import type { MappingRequest, MappingTransport } from '../protocol.ts'
import { cleaned, type Service } from './description.ts'
import type { HttpClient } from './http.ts'
import { invoke, type SoapArguments, type SoapValues, UpnpFault } from './soap.ts'
import type { Standing } from './standing.ts'

const NO_SUCH_ENTRY = 714

/** What a mapping is read back as; `unknown` where the router cannot tell. */
export interface Entry {
  readonly owner: 'us' | 'another' | 'nobody' | 'unknown'
  /** Seconds left; undefined where it does not tell, or says 0. */
  readonly lease: number | undefined
}

const UNKNOWN: Entry = { owner: 'unknown', lease: undefined }

export class WanConnection {
  readonly service: Service
  /** AddAnyPortMapping is there, as far as is known. */
  hasAny: boolean
  /** Seconds that were taken after others had been refused: to begin with next time. */
  lease: number | undefined
  readonly #http: HttpClient
  readonly #description: string

  /** `description` of the mappings: ASCII without markup; one router gives long ones back as garbage. */
  constructor(service: Service, http: HttpClient, description: string) {
    this.service = service
    this.hasAny = service.version >= 2
    this.#http = http
    this.#description = description
  }

  /** Rejects with SallyportError only: what the service does not tell is not known. */
  async standing(): Promise<Standing> {
    const [status, external] = await Promise.all([this.#ask('GetStatusInfo'), this.externalAddress()])
    const said = status?.get('NewConnectionStatus')
    const state = said === undefined ? undefined : cleaned(said)
    const isConnected = state === undefined ? external !== undefined : /^(?:connected|up)$/i.test(state)
    return { state, external, isConnected }
  }

  /** Port 0. Undefined for an empty one, 0.0.0.0, and what is no address: the connection is down, or the router does not tell. */
  async externalAddress(): Promise<Address | undefined> {
    const values = await this.#ask('GetExternalIPAddress')
    const address = Address.tryOf(values?.get('NewExternalIPAddress') ?? '', 0)
    return address?.family === 4 && address.scope !== 'unspecified' ? address : undefined
  }

  /** `any`: another port will do. @returns the port that was given. Rejects with `UpnpFault` or SallyportError. */
  async add(any: boolean, port: number, lease: number, { transport, internal }: MappingRequest): Promise<number> {
    // In the order of the service's description: some routers read by position.
    const given: SoapArguments = [
      ...this.#key(port, transport),
      ['NewInternalPort', internal.port],
      ['NewInternalClient', internal.ip],
      ['NewEnabled', 1],
      ['NewPortMappingDescription', this.#description],
      ['NewLeaseDuration', lease],
    ]
    const values = await this.#invoke(any ? 'AddAnyPortMapping' : 'AddPortMapping', given)
    if (!any) return port
    // The second name is that of older miniupnpds.
    const reserved = Number(values.get('NewReservedPort') ?? values.get('NewExternalPort') ?? port)
    if (Number.isInteger(reserved) && reserved > 0 && reserved <= 0xffff) return reserved
    throw new SallyportError('ERR_MAPPING_ANSWER', 'the router gives a port that is none')
  }

  /** Reads back who has a port. Never fails because of what the router cannot tell. Rejects with SallyportError `ERR_CLOSED`. */
  async look(port: number, { transport, internal }: MappingRequest): Promise<Entry> {
    let values: SoapValues
    try {
      values = await this.#invoke('GetSpecificPortMappingEntry', this.#key(port, transport))
    } catch (error) {
      if (error instanceof UpnpFault) return error.code === NO_SUCH_ENTRY ? { owner: 'nobody', lease: undefined } : UNKNOWN
      if (error instanceof SallyportError && error.code !== 'ERR_CLOSED') return UNKNOWN
      throw error
    }
    const client = Address.tryOf(values.get('NewInternalClient') ?? '', internal.port)
    const isOurs =
      client?.equals(internal) !== false &&
      Number(values.get('NewInternalPort') ?? internal.port) === internal.port &&
      !/^(?:0|false|no)$/i.test(values.get('NewEnabled') ?? '1')
    const lease = values.get('NewLeaseDuration') ?? ''
    return { owner: isOurs ? 'us' : 'another', lease: /^[1-9][0-9]{0,9}$/.test(lease) ? Number(lease) : undefined }
  }

  /** What is gone already counts as deleted. Rejects with `UpnpFault` or SallyportError. */
  async remove(port: number, transport: MappingTransport): Promise<void> {
    try {
      await this.#invoke('DeletePortMapping', this.#key(port, transport))
    } catch (error) {
      if (!(error instanceof UpnpFault && error.code === NO_SUCH_ENTRY)) throw error
    }
  }

  /** What every action about a mapping begins with. */
  #key(port: number, transport: MappingTransport): SoapArguments {
    return [
      ['NewRemoteHost', ''],
      ['NewExternalPort', port],
      ['NewProtocol', transport.toUpperCase()],
    ]
  }

  #invoke(action: string, given?: SoapArguments): Promise<SoapValues> {
    return invoke(this.#http, this.service, action, given)
  }

  /** Undefined when the service says no, or nonsense. */
  async #ask(action: string): Promise<SoapValues | undefined> {
    try {
      return await this.#invoke(action)
    } catch (error) {
      if (error instanceof UpnpFault || (error instanceof SallyportError && error.code === 'ERR_MAPPING_ANSWER')) return undefined
      throw error
    }
  }
}
