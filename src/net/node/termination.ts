/** What has to be done before the process ends by a signal. */

const SIGNALS = ['SIGINT', 'SIGTERM'] as const
/** Milliseconds that all of it may take together. */
const LONGEST = 1_500

const releases = new Set<() => Promise<void>>()
let heeding = false

/**
 * Calls back when the process is asked to end. It ends when all callbacks are done, unless the program listens for the signal itself: then when it
 * ends is the program's. Returns how to take it back.
 */
export function onTermination(release: () => Promise<void>): () => void {
  releases.add(release)
  // Before the program's own listeners: one that is called once is not in the list any more after it was.
  if (!heeding) for (const name of SIGNALS) process.prependListener(name, terminate)
  heeding = true
  return () => {
    releases.delete(release)
    if (releases.size === 0) stop()
  }
}

function stop(): void {
  for (const name of SIGNALS) process.off(name, terminate)
  heeding = false
}

async function terminate(signal: NodeJS.Signals): Promise<void> {
  // Before anything changes the list: others that are there decide when the process ends.
  const alone = process.listenerCount(signal) === 1
  let late: NodeJS.Timeout | undefined
  const work = Promise.allSettled([...releases].map((release) => release()))
  await Promise.race([
    work,
    new Promise((resolve) => {
      late = setTimeout(resolve, LONGEST)
    }),
  ])
  clearTimeout(late)
  if (!alone) return
  stop()
  process.kill(process.pid, signal)
}
