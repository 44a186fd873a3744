/** A client whose code is loaded when it is first asked for something: those beside it need not wait until it is there. */
import { SallyportError } from '../errors.ts'
import type { Grant, MappingClient, MappingProtocol, MappingRequest, RouterFacts, Uplink } from './protocol.ts'

export class LateClient implements MappingClient {
  readonly protocol: MappingProtocol
  readonly uplink: Uplink
  readonly #load: () => Promise<MappingClient>
  #loading: Promise<MappingClient> | undefined
  #closed = false

  /** @param load makes the client; called once */
  constructor(protocol: MappingProtocol, uplink: Uplink, load: () => Promise<MappingClient>) {
    this.protocol = protocol
    this.uplink = uplink
    this.#load = load
  }

  async probe(): Promise<RouterFacts> {
    return (await this.#client()).probe()
  }

  async map(request: MappingRequest): Promise<Grant> {
    return (await this.#client()).map(request)
  }

  async unmap(grant: Grant): Promise<void> {
    return (await this.#client()).unmap(grant)
  }

  close(): void {
    this.#closed = true
    void this.#loading?.then((client) => client.close())
  }

  async #client(): Promise<MappingClient> {
    this.#loading ??= this.#load()
    const client = await this.#loading
    if (this.#closed) throw new SallyportError('ERR_CLOSED', `the ${this.protocol} client was closed`)
    return client
  }
}
