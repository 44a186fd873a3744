import { expect, it } from 'vitest'
import { campaign } from './campaign.ts'

it('C70 C61 C62 C58 no session is ever given another one’s data, with a third host or a second session between the same two: 1,000 schedules', async () => {
  expect(await campaign({ runs: 1_000, seed: 2, others: ['twin', 'third'] })).toBeUndefined()
}, 600_000)
