import { expect, it } from 'vitest'
import { campaign } from './campaign.ts'

// A seed of its own each, so that a run is the same everywhere; other ones by `npm run races`.
it('C74 C61 C63 C76 two peers end agreed on one path that carries data, or failed on both sides, whatever happens: 4,000 schedules', async () => {
  expect(await campaign({ runs: 4_000, seed: 1, others: ['nobody'] })).toBeUndefined()
}, 600_000)
