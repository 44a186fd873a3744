/** The clients of the three protocols for one uplink. */
import type { MappingClient } from './protocol.ts'
import type { OpenClients } from './router.ts'

export const openClients: OpenClients = async (_options, _terms): Promise<readonly MappingClient[]> => []
