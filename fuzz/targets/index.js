// @ts-check
import { readdirSync, readFileSync } from 'node:fs'

/** @type {Record<string, () => Promise<import('../engine/fuzzer.js').Target>>} */
export const TARGETS = {
  stun: async () => (await import('./stun.js')).stun(),
  candidates: async () => (await import('./candidates.js')).candidates(),
  signals: async () => (await import('./signals.js')).signals(),
  demultiplexer: async () => (await import('./demultiplexer.js')).demultiplexer(),
  'relay-server': async () => (await import('./relay-server.js')).relayServer(),
  upnp: async () => (await import('./upnp.js')).upnp(),
  'relay-client': async () => (await import('./relay-client.js')).relayClient(),
  pxp: async () => (await import('./pxp.js')).pxp(),
}

/** The committed inputs of a target, in an order that does not change; those that were found have no name worth keeping. @param {string} name */
export function corpusOf(name) {
  const folder = new URL(`../corpus/${name}/`, import.meta.url)
  return readdirSync(folder)
    .sort()
    .map((file) => ({ name: file.startsWith('found-') ? undefined : file, data: Uint8Array.from(readFileSync(new URL(file, folder))) }))
}
