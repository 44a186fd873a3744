import type { AddressInfo } from 'node:net'
import { createServer, type Server } from 'node:tls'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Address, type Stream } from '../../../src/net/index.ts'
import { nodeNetwork } from '../../../src/net/node/index.ts'
import { requires } from '../../requirements.ts'
import { makeIdentity } from '../tls-identity.ts'

const { streams, listen } = nodeNetwork()

function collect(stream: Stream): Promise<{ text: string; reason: Error | undefined }> {
  let text = ''
  return new Promise((resolve) => {
    stream.handle({
      data: (chunk) => {
        text += Buffer.from(chunk).toString()
      },
      drained: () => {},
      closed: (reason) => resolve({ text, reason }),
    })
  })
}

describe('a stream', () => {
  it('keeps what arrives until somebody handles it', async () => {
    const accepted: Stream[] = []
    const listener = await listen({ family: 4, ip: '127.0.0.1' }, (stream) => accepted.push(stream))
    const stream = await streams.dial({ to: listener.local })
    const done = collect(stream)
    stream.write(Buffer.from('early'))
    stream.end()
    // The other side has nothing to say to us until it handled what we said.
    while (accepted.length === 0) await new Promise((resolve) => setImmediate(resolve))
    expect((await Promise.all([collect(accepted[0]!), done]))[0].text).toBe('early')
    listener.close()
  })

  it('tells its handler although it was closed before there was one', async () => {
    const listener = await listen({ family: 4, ip: '127.0.0.1' }, (stream) => stream.destroy())
    const stream = await streams.dial({ to: listener.local })
    expect((await collect(stream)).text).toBe('')
    listener.close()
  })

  it('speaks IPv6 alone on an IPv6 wildcard', async () => {
    const listener = await listen({ family: 6 }, (stream) => stream.destroy())
    expect(listener.local.ip).toBe('::')
    await expect(streams.dial({ to: Address.of('127.0.0.1', listener.local.port) })).rejects.toMatchObject({ code: 'ERR_DIAL' })
    listener.close()
  })
})

describe('a TLS stream', requires({ commands: { openssl: 'openssl' } }), () => {
  let server: Server
  let to: Address
  let ca: string
  const asked: (string | false | null | undefined)[] = []

  beforeAll(async () => {
    const identity = makeIdentity('relay.test')
    ca = identity.cert
    server = createServer(identity, (socket) => {
      asked.push(socket.servername)
      socket.on('error', () => {})
      socket.pipe(socket)
    })
    server.on('tlsClientError', () => {})
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    to = Address.of('127.0.0.1', (server.address() as AddressInfo).port)
  })

  afterAll(() => {
    server?.close()
  })

  it.each(['relay.test', '127.0.0.1'])('stands when the certificate is for %s', async (serverName) => {
    const stream = await streams.dial({ to, tls: { serverName, ca } })
    expect(stream.remote.key).toBe(to.key)
    const done = collect(stream)
    stream.write(Buffer.from('over TLS'))
    stream.end()
    expect(await done).toEqual({ text: 'over TLS', reason: undefined })
    // RFC 6066 3: a name in SNI, never an address.
    expect(asked.at(-1)).toBe(serverName === 'relay.test' ? 'relay.test' : false)
  })

  it('is refused when the certificate is for somebody else', async () => {
    await expect(streams.dial({ to, tls: { serverName: 'other.test', ca } })).rejects.toMatchObject({
      code: 'ERR_DIAL',
      cause: { code: 'ERR_TLS_CERT_ALTNAME_INVALID' },
    })
  })

  it('is refused when nobody we know signed the certificate', async () => {
    await expect(streams.dial({ to, tls: { serverName: 'relay.test' } })).rejects.toMatchObject({ code: 'ERR_DIAL' })
  })

  it('is refused by who does not speak TLS', async () => {
    const listener = await listen({ family: 4, ip: '127.0.0.1' }, (stream) => stream.destroy())
    await expect(streams.dial({ to: listener.local, tls: { serverName: 'relay.test', ca } })).rejects.toMatchObject({ code: 'ERR_DIAL' })
    listener.close()
  })

  it("gives up with the signal's reason in the middle of the handshake", async () => {
    const controller = new AbortController()
    const reason = new Error('enough')
    const silent = await listen({ family: 4, ip: '127.0.0.1' }, (stream) => {
      void collect(stream)
      controller.abort(reason)
    })
    await expect(streams.dial({ to: silent.local, tls: { serverName: 'relay.test', ca }, signal: controller.signal })).rejects.toBe(reason)
    silent.close()
  })
})
