import { expect, it } from 'vitest'
import { ANY_OTHERS, campaign } from './campaign.ts'

// Each costs about three of those without relays: there are more pairs, and more that can go wrong.
it('C74 C61 C63 C70 with relays that die, start again, or drain, and credentials that expire, all of that holds, too: 800 schedules', async () => {
  expect(await campaign({ runs: 800, seed: 3, others: ANY_OTHERS, relayed: true })).toBeUndefined()
}, 600_000)
