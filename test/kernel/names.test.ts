/** Names under `.local`, asked for by multicast between two hosts on one real LAN, in either family. */
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { afterEach, describe, expect, it } from 'vitest'
import { requires } from '../requirements.ts'
import { KERNEL, KernelNet } from './namespaces.ts'

const PEER = fileURLToPath(new URL('names-peer.js', import.meta.url))

let net: KernelNet | undefined

afterEach(async () => {
  await net?.close()
})

describe('names under .local on a LAN', requires(KERNEL), () => {
  it.each(['IPv4', 'IPv6', 'IPv6 link-local'])('C19 are answered over %s', async (kind) => {
    net = await KernelNet.create()
    const router = await net.router('home')
    const a = await net.host('a', { behind: router })
    const b = await net.host('b', { behind: router })
    const ip = kind === 'IPv4' ? b.ip4 : kind === 'IPv6' ? b.ip6 : 'fe80::3'
    const own = kind === 'IPv4' ? 'ip4' : 'ip6'
    const responder = net.exec(b, process.execPath, [PEER, 'answer', b[own], 'eth0', 'browser.local', ip], { stdio: 'pipe' })
    await once(responder.stdout!, 'data')
    const answer = await net.output(a, process.execPath, PEER, 'ask', a[own], 'browser.local')
    expect(answer.trim()).toBe(kind === 'IPv6 link-local' ? `${ip}%eth0` : ip)
  })
})
