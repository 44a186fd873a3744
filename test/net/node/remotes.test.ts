import { describe, expect, it } from 'vitest'
import { Remotes } from '../../../src/net/node/remotes.ts'

describe('remote addresses', () => {
  it('are one object each time they are heard from', () => {
    const remotes = new Remotes()
    const first = remotes.get('192.0.2.1', 4000)
    expect(remotes.get('192.0.2.1', 4000)).toBe(first)
    expect(remotes.get('192.0.2.1', 4001)).not.toBe(first)
    expect(remotes.get('192.0.2.1', 4001)?.key).toBe('192.0.2.1:4001')
  })

  it('are told apart when datagrams of two of them come in turns, and from what is no address', () => {
    const remotes = new Remotes()
    const heard: readonly (readonly [ip: string, port: number])[] = [
      ['192.0.2.1', 4000],
      ['192.0.2.2', 4000],
      ['192.0.2.2', 4001],
      ['localhost', 4001],
      ['192.0.2.1', 4000],
      ['', 0],
    ]
    const keys = [...heard, ...heard].map(([ip, port]) => remotes.get(ip, port)?.key)
    const once = ['192.0.2.1:4000', '192.0.2.2:4000', '192.0.2.2:4001', undefined, '192.0.2.1:4000', undefined]
    expect(keys).toEqual([...once, ...once])
  })

  it('RFC 4291 2.5.5.2: are IPv4 where IPv4 came over an IPv6 socket', () => {
    expect(new Remotes().get('::ffff:192.0.2.1', 4000)?.key).toBe('192.0.2.1:4000')
  })

  it('keep the zone of a link-local address', () => {
    expect(new Remotes().get('fe80::1%eth0', 4000)?.key).toBe('[fe80::1%eth0]:4000')
  })

  it('are kept once for all sockets, so that spraying many costs no more than spraying one', () => {
    expect(new Remotes().get('192.0.2.77', 4000)).toBe(new Remotes().get('192.0.2.77', 4000))
  })

  it('are none for what is no address', () => {
    expect(new Remotes().get('localhost', 4000)).toBeUndefined()
  })

  it('are forgotten rather than kept without limit', () => {
    const remotes = new Remotes(10)
    const first = remotes.get('192.0.2.1', 1)
    for (let port = 2; port <= 10; port++) remotes.get('192.0.2.1', port)
    expect(remotes.get('192.0.2.1', 1)).toBe(first)
    remotes.get('192.0.2.1', 11)
    const again = remotes.get('192.0.2.1', 1)
    expect(again).not.toBe(first)
    expect(again?.equals(first!)).toBe(true)
  })
})
