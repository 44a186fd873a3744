/** The clients of the three protocols for one uplink. They are loaded when the first mapping is asked for: most programs ask for none. */
import { LateClient } from './late-client.ts'
import type { MappingClient } from './protocol.ts'
import type { OpenClients } from './router.ts'

/** PCP and NAT-PMP share a socket, which goes with the last of them. NAT-PMP is for IPv4 alone (RFC 6886 1). */
export const openClients: OpenClients = async (options, { protocols, description }) => {
  const wanted = new Set(protocols)
  const pxp =
    wanted.has('pcp') || wanted.has('nat-pmp') ? await import('./pxp/index.ts').then(({ openPxp }) => openPxp(options)) : undefined
  if (!wanted.has('pcp')) pxp?.pcp.close()
  if (!wanted.has('nat-pmp')) pxp?.natPmp?.close()
  const upnp = async (): Promise<MappingClient> => {
    const { UpnpClient } = await import('./upnp/index.ts')
    // It tells of itself, and is known by the one in whose place it is.
    return new UpnpClient({ ...options, description, restarted: () => options.restarted(late) })
  }
  const late = new LateClient('upnp', options.uplink, upnp)
  const clients: readonly (MappingClient | undefined)[] = [
    wanted.has('pcp') ? pxp?.pcp : undefined,
    wanted.has('nat-pmp') ? pxp?.natPmp : undefined,
    wanted.has('upnp') ? late : undefined,
  ]
  return clients.filter((client) => client !== undefined)
}
