/** A lab with a relay on it. */
import { createLab, type Lab, type LabHost, type LabOptions } from '../../../src/lab/index.ts'
import type { Address } from '../../../src/net/index.ts'
import { createRelay, type Relay, type RelayEvent, type RelayOptions } from '../../../src/relay/index.ts'
import { TurnClient } from './turn-client.ts'

export interface Stage {
  readonly lab: Lab
  readonly server: LabHost
  readonly relay: Relay
  readonly events: RelayEvent[]
  /** Where UDP and TCP clients go, over IPv4. */
  readonly at: Address
  readonly at6: Address
  /** Another client on a host of its own. */
  client(): Promise<TurnClient>
}

/** The public addresses of the lab are documentation and benchmark ranges, hence `private`. */
export async function setStage(options: Partial<RelayOptions> = {}, labOptions: LabOptions = {}): Promise<Stage> {
  const lab = createLab({ families: [4, 6], ...labOptions })
  const server = lab.host('relay')
  const events: RelayEvent[] = []
  const relay = await createRelay({
    network: server,
    users: { alice: 'wonder', bob: 'builder' },
    peers: { private: true },
    log: (event) => events.push(event),
    ...options,
  })
  const ipOf = (family: 4 | 6): Address => server.addresses.find((address) => address.family === family)!.withPort(3478)
  let clients = 0
  return {
    lab,
    server,
    relay,
    events,
    at: ipOf(4),
    get at6() {
      return ipOf(6)
    },
    client: () => TurnClient.udp(lab, lab.host(`client${clients++}`), ipOf(4)),
  }
}
