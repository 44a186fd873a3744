import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { describe, expect, it } from 'vitest'
import { Attribute, Message, MessageWriter, Method } from '../../../src/stun/index.ts'
import { Program } from '../peers.ts'

describe('serve', () => {
  it('answers a Binding request, and leaves with 0 on SIGTERM', async () => {
    const server = Program.sallyport('serve', '--json', '--port', '0', '--address', '127.0.0.1')
    const { listening } = (await server.json('listening')) as { listening: string[] }
    expect(listening).toHaveLength(1)
    const socket = createSocket('udp4').bind(0, '127.0.0.1')
    await once(socket, 'listening')
    const request = new MessageWriter().start('request', Method.Binding, new Uint8Array(12).fill(7)).fingerprint().finish()
    socket.send(request, Number(listening[0]?.split(':')[1]), '127.0.0.1')
    const [answer] = (await once(socket, 'message')) as [Buffer]
    expect(Message.read(answer)?.address(Attribute.XorMappedAddress)?.port).toBe(socket.address().port)
    socket.close()
    server.kill('SIGTERM')
    expect(await server.exit).toBe(0)
  })

  it('listens on four sockets when it has two addresses (RFC 5780), and tells of each on a line', async () => {
    const server = Program.sallyport('serve', '--port', '0', '--address', '127.0.0.1', '--address', '127.0.0.2')
    await server.text('Ctrl-C')
    expect(server.lines.filter((line) => line.startsWith('STUN server on 127.0.0.'))).toHaveLength(4)
    server.kill('SIGINT')
    expect(await server.exit).toBe(0)
    expect(server.lines.at(-1)).toBe('Stopped after 0 answers.')
  })

  it('says which port is taken, with exit code 1', async () => {
    const first = Program.sallyport('serve', '--json', '--port', '0', '--address', '127.0.0.1')
    const { listening } = (await first.json('listening')) as { listening: string[] }
    const second = Program.sallyport('serve', '--port', listening[0]?.split(':')[1] ?? '', '--address', '127.0.0.1')
    expect(await second.exit).toBe(1)
    expect(second.errors).toContain(listening[0]?.split(':')[1])
    first.kill('SIGTERM')
    await first.exit
  })
})
