/** Loaded into a server under test before anything else: says over its channel what it holds once all that can be collected is. */
process.on('message', () => {
  // The second finds what the first one's finalizers let go.
  globalThis.gc?.()
  globalThis.gc?.()
  const { heapUsed, external, rss } = process.memoryUsage()
  process.send?.({ held: heapUsed + external, resident: rss })
})
// It must not keep the server from ending.
process.channel?.unref()
