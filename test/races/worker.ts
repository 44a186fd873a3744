/** One of the processes of a long run: a campaign for each order it is given. */
import { parentPort } from 'node:worker_threads'
import { type Campaign, campaign } from './campaign.ts'

parentPort?.on('message', async (order: Campaign) => {
  parentPort?.postMessage(await campaign(order))
})
