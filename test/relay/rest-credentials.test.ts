import { createHmac } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { readRestUsername, restCredentials, restPassword } from '../../src/relay/rest-credentials.ts'

const now = 1_700_000_000_123

describe('credentials from a shared secret', () => {
  it('have the expiry in seconds in the user name, one hour from now by default', () => {
    const { username, expires } = restCredentials({ secret: 'shared', user: 'ann', now })
    expect(username).toBe('1700003600:ann')
    expect(expires).toBe(1_700_003_600_000)
  })

  it('have the HMAC-SHA1 of the user name in base64 as password, as every relay computes it', () => {
    const { username, password } = restCredentials({ secret: 'süß', user: 'ann', ttl: 60_000, now })
    expect(password).toBe(createHmac('sha1', 'süß').update(username).digest('base64'))
    expect(restPassword('süß', username)).toBe(password)
  })

  it('can do without a user', () => {
    expect(restCredentials({ secret: 's', now }).username).toBe('1700003600')
  })

  it('can be read again: when they expire and for whom they are', () => {
    expect(readRestUsername('1700003600:ann:marie')).toEqual({ expires: 1_700_003_600_000, user: 'ann:marie' })
    expect(readRestUsername('1700003600')).toEqual({ expires: 1_700_003_600_000, user: '' })
  })

  it.each(['', 'ann', ':ann', '12x:ann', '-1:ann', '1234567890123:ann', ' 1700003600:ann'])('%j is no such user name', (name) => {
    expect(readRestUsername(name)).toBeUndefined()
  })

  it('refuse options that make no sense', () => {
    expect(() => restCredentials({ secret: '', now })).toThrow(TypeError)
    expect(() => restCredentials({ secret: 's', ttl: 0, now })).toThrow(RangeError)
    expect(() => restCredentials({ secret: 's', ttl: Number.NaN, now })).toThrow(RangeError)
    expect(() => restCredentials({ secret: 's', now: Number.NaN })).toThrow(RangeError)
  })
})
