import { connect } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { afterEach, describe, expect, it } from 'vitest'
import type { Stream, StreamListener } from '../../../src/net/index.ts'
import { nodeNetwork } from '../../../src/net/node/index.ts'
import { requires, requiresSharedPorts } from '../../requirements.ts'
import { makeIdentity } from '../tls-identity.ts'

const { streams, listen } = nodeNetwork()
const open: StreamListener[] = []

afterEach(() => {
  for (const listener of open.splice(0)) listener.close()
})

const echo = (stream: Stream): void => {
  stream.handle({ data: (chunk) => stream.write(chunk), drained: () => {}, closed: () => {} })
}

describe('a TLS listener', requires({ commands: { openssl: 'openssl' } }), () => {
  const [old, renewed] = [makeIdentity('old.test'), makeIdentity('new.test')]

  async function start(accept: (stream: Stream) => void = echo): Promise<StreamListener> {
    const listener = await listen({ family: 4, ip: '127.0.0.1', tls: old }, accept)
    open.push(listener)
    return listener
  }

  it('accepts whoever connects, hands over nothing before the handshake, and lives on after one that failed', async () => {
    const heard: string[] = []
    const ends: Promise<Error | undefined>[] = []
    const { local } = await start((stream) => {
      ends.push(
        new Promise((resolve) => {
          stream.handle({ data: (chunk) => heard.push(Buffer.from(chunk).toString()), drained: () => {}, closed: resolve })
        }),
      )
      stream.write(Buffer.from('early'))
    })
    const stranger = connect(local.port, local.ip).on('error', () => {})
    const cut = new Promise((resolve) => stranger.once('close', resolve))
    stranger.write('GET / HTTP/1.0\r\n\r\n')
    await cut
    expect([ends.length, await ends[0], heard]).toEqual([1, expect.any(Error), []])
    const stream = await streams.dial({ to: local, tls: { serverName: 'old.test', ca: old.cert } })
    const greeting = new Promise<string>((resolve) => {
      stream.handle({ data: (chunk) => resolve(Buffer.from(chunk).toString()), drained: () => {}, closed: () => {} })
    })
    expect(await greeting).toBe('early')
    stream.write(Buffer.from('in order'))
    stream.end()
    expect([await ends[1], heard]).toEqual([undefined, ['in order']])
  })

  it('closes one that never begins a handshake when who accepted it says so', async () => {
    const { local } = await start((stream) => stream.destroy())
    const silent = connect(local.port, local.ip).on('error', () => {})
    await new Promise((resolve) => silent.once('close', resolve))
    expect(silent.bytesRead).toBe(0)
  })

  it('speaks TLS 1.2 and later only (RFC 8996)', async () => {
    const { local } = await start()
    const attempt = (maxVersion: 'TLSv1.1' | 'TLSv1.2'): Promise<string> =>
      new Promise((resolve) => {
        const options = { host: local.ip, port: local.port, minVersion: 'TLSv1', maxVersion, ciphers: 'DEFAULT@SECLEVEL=0' } as const
        const socket = connectTls({ ...options, ca: old.cert, servername: 'old.test' })
        socket.once('secureConnect', () => resolve(`${socket.getProtocol()}`)).once('error', () => resolve('refused'))
        socket.once('secureConnect', () => socket.destroy())
      })
    expect([await attempt('TLSv1.1'), await attempt('TLSv1.2')]).toEqual(['refused', 'TLSv1.2'])
  })

  it('takes another certificate, and keeps the streams that stand', async () => {
    const listener = await start()
    const before = await streams.dial({ to: listener.local, tls: { serverName: 'old.test', ca: old.cert } })
    listener.renew(renewed)
    const after = await streams.dial({ to: listener.local, tls: { serverName: 'new.test', ca: renewed.cert } })
    for (const stream of [before, after]) {
      const heard = new Promise<string>((resolve) => {
        stream.handle({ data: (chunk) => resolve(Buffer.from(chunk).toString()), drained: () => {}, closed: () => {} })
      })
      stream.write(Buffer.from('still here'))
      expect(await heard).toBe('still here')
      stream.destroy()
    }
  })

  it("refuses a certificate with another's key, and keeps the one it has", async () => {
    const listener = await start()
    for (const wrong of [
      { cert: renewed.cert, key: old.key },
      { cert: 'nothing', key: old.key },
    ]) {
      expect(() => listener.renew(wrong)).toThrow(expect.objectContaining({ code: 'ERR_BIND' }))
      await expect(listen({ family: 4, ip: '127.0.0.1', tls: wrong }, echo)).rejects.toMatchObject({ code: 'ERR_BIND' })
    }
    const stream = await streams.dial({ to: listener.local, tls: { serverName: 'old.test', ca: old.cert } })
    stream.destroy()
  })
})

describe('listeners that share a port', await requiresSharedPorts(), () => {
  it('both stand, and one that does not share is refused', async () => {
    const first = await listen({ family: 4, ip: '127.0.0.1', reusePort: true }, echo)
    const { port } = first.local
    const second = await listen({ family: 4, ip: '127.0.0.1', port, reusePort: true }, echo)
    open.push(first, second)
    expect(second.local.key).toBe(first.local.key)
    await expect(listen({ family: 4, ip: '127.0.0.1', port }, echo)).rejects.toMatchObject({ code: 'ERR_BIND' })
  })
})
