// @ts-check
/**
 * A loader hook (node:module `register`) that puts istanbul's counters into the built library as it is loaded, and into nothing else:
 * the virtual internet and the targets would only add noise.
 */
import { fileURLToPath } from 'node:url'
import { createInstrumenter } from 'istanbul-lib-instrument'

const DIST = new URL('../../dist/', import.meta.url).href
const LEFT_OUT = ['lab/', 'cli/', 'net/node/'].map((place) => DIST + place)

const instrumenter = createInstrumenter({ esModules: true, compact: false, produceSourceMap: false })

/** @type {import('node:module').LoadHook} */
export async function load(url, context, nextLoad) {
  const loaded = await nextLoad(url, context)
  if (!url.startsWith(DIST) || LEFT_OUT.some((place) => url.startsWith(place))) return loaded
  return { ...loaded, source: instrumenter.instrumentSync(String(loaded.source), fileURLToPath(url)) }
}
