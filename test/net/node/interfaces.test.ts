import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { Address, type InterfaceAddress } from '../../../src/net/index.ts'
import { nodeInterfaces } from '../../../src/net/node/interfaces.ts'

function entry(ip: string): InterfaceAddress {
  return { name: 'eth0', address: Address.of(ip, 0), prefixLength: 24, internal: false, temporary: false, deprecated: false }
}

describe('watching interfaces', () => {
  let list: readonly InterfaceAddress[]
  let reads: number
  let calls: string[]
  const interfaces = () =>
    nodeInterfaces(() => {
      reads++
      return list
    }, 2000)

  beforeEach(() => {
    vi.useFakeTimers()
    list = [entry('10.0.0.1'), entry('10.0.0.2')]
    reads = 0
    calls = []
  })

  afterEach(() => {
    vi.useRealTimers()
  })

  it('calls back after a change, to everybody, once', () => {
    const watched = interfaces()
    watched.watch(() => calls.push('a'))
    watched.watch(() => calls.push('b'))
    vi.advanceTimersByTime(2000)
    expect(calls).toEqual([])
    list = [entry('10.0.0.1'), entry('10.0.0.3')]
    vi.advanceTimersByTime(6000)
    expect(calls).toEqual(['a', 'b'])
  })

  it('sees a flag that changed', () => {
    const watched = interfaces()
    watched.watch(() => calls.push('a'))
    list = [entry('10.0.0.1'), { ...entry('10.0.0.2'), deprecated: true }]
    vi.advanceTimersByTime(2000)
    expect(calls).toEqual(['a'])
  })

  it('takes no other order for a change', () => {
    const watched = interfaces()
    watched.watch(() => calls.push('a'))
    list = [entry('10.0.0.2'), entry('10.0.0.1')]
    vi.advanceTimersByTime(2000)
    expect(calls).toEqual([])
  })

  it('looks only while somebody watches', () => {
    const watched = interfaces()
    vi.advanceTimersByTime(10_000)
    expect(reads).toBe(0)
    const stops = [watched.watch(() => {}), watched.watch(() => {})]
    stops[0]?.()
    vi.advanceTimersByTime(4000)
    expect(reads).toBe(3)
    stops[1]?.()
    stops[1]?.()
    expect(vi.getTimerCount()).toBe(0)
    watched.watch(() => calls.push('a'))
    list = []
    vi.advanceTimersByTime(2000)
    expect(calls).toEqual(['a'])
  })

  it('lets a watcher stop itself from within', () => {
    const watched = interfaces()
    const stop = watched.watch(() => {
      calls.push('a')
      stop()
    })
    list = []
    vi.advanceTimersByTime(2000)
    list = [entry('10.0.0.9')]
    vi.advanceTimersByTime(2000)
    expect(calls).toEqual(['a'])
  })
})
