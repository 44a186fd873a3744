import { describe, expect, it } from 'vitest'
import { SallyportError } from '../../../src/errors.ts'
import { nodeDns } from '../../../src/net/node/dns.ts'
import { nodeInterfaces } from '../../../src/net/node/interfaces.ts'

const dns = nodeDns(nodeInterfaces())

describe('names', () => {
  it('that the hosts file knows are found', async () => {
    expect(await dns.lookup('localhost')).toEqual(expect.arrayContaining([expect.stringMatching(/^(127\.0\.0\.1|::1)$/)]))
  })

  it('RFC 6761 6.4: that cannot exist are refused with ERR_DNS and the cause', async () => {
    const error = await dns.lookup('nobody.invalid').catch((error: unknown) => error)
    expect(error).toBeInstanceOf(SallyportError)
    expect(error).toMatchObject({ code: 'ERR_DNS', cause: expect.any(Error) })
  })

  it('that are literals of the other family are refused', async () => {
    await expect(dns.lookup('127.0.0.1', { family: 6 })).rejects.toMatchObject({ code: 'ERR_DNS' })
    expect(await dns.lookup('127.0.0.1', { family: 4 })).toEqual(['127.0.0.1'])
    expect(await dns.lookup('::1', { family: 6 })).toEqual(['::1'])
  })

  it("are given up with the signal's reason, during it too", async () => {
    const controller = new AbortController()
    const looking = dns.lookup('localhost', { signal: controller.signal })
    const reason = new Error('enough')
    controller.abort(reason)
    await expect(looking).rejects.toBe(reason)
  })
})
