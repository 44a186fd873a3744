import { expect, it } from 'vitest'
import { createLab } from '../../src/lab/index.ts'
import { Timers } from '../../src/net/index.ts'
import { MAPPING_DEFAULTS, type MappingClient, openClients } from '../../src/pmp/index.ts'
import { findUplinks } from '../../src/pmp/uplinks.ts'
import { loadXml } from '../../src/pmp/upnp/index.ts'

async function opened(): Promise<{
  lab: ReturnType<typeof createLab>
  router: ReturnType<ReturnType<typeof createLab>['router']>
  clients: readonly MappingClient[]
  restarted: MappingClient[]
}> {
  await loadXml()
  const lab = createLab()
  const router = lab.router('home', { portMapping: { pcp: false, natPmp: false } })
  const host = lab.host('pc', { behind: router })
  const [uplink] = await findUplinks(host)
  if (uplink === undefined) throw new Error('there is no router')
  const restarted: MappingClient[] = []
  const options = {
    network: host,
    timers: new Timers(host.clock),
    uplink,
    restarted: (client: MappingClient) => void restarted.push(client),
  }
  const clients = await lab.until(openClients(options, { ...MAPPING_DEFAULTS, protocols: ['upnp'] }))
  return { lab, router, clients, restarted }
}

it('a client that is loaded late tells of restarts under the name it was given out by', async () => {
  const { lab, router, clients, restarted } = await opened()
  await lab.until((clients[0] as MappingClient).probe())
  router.reboot()
  await lab.run(10_000)
  expect(restarted).toEqual([clients[0]])
  clients[0]?.close()
})

it('one that is closed while it is loaded asks nobody', async () => {
  const { lab, clients } = await opened()
  const seen: string[] = []
  lab.filter(({ to }) => {
    seen.push(to.key)
    return undefined
  })
  const [client] = clients
  const probing = (client as MappingClient).probe()
  clients[0]?.close()
  await expect(lab.until(probing)).rejects.toMatchObject({ code: 'ERR_CLOSED' })
  await lab.run(5_000)
  expect(seen).toEqual([])
})
