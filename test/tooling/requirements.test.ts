import { afterEach, describe, expect, it, vi } from 'vitest'
import { hasCommand, requires } from '../requirements.ts'

afterEach(() => {
  vi.unstubAllEnvs()
})

describe('what a test needs of the machine', () => {
  it('lets it run where everything is there', () => {
    vi.stubEnv('CI', 'true')
    expect(requires({ commands: { sh: 'dash' }, also: { 'solid ground': true } })).toEqual({ skip: false })
    expect(requires({})).toEqual({ skip: false })
  })

  it('skips it elsewhere, and says what is missing and where to get it', () => {
    vi.stubEnv('CI', '')
    const needs = 'needs no-such-command (Debian: no-such-package), perpetual motion'
    const required = requires({ commands: { 'no-such-command': 'no-such-package' }, also: { 'perpetual motion': false } })
    expect(required).toEqual({ skip: true, reason: needs, meta: { needs } })
  })

  it.each(['true', '1', 'yes'])('fails instead in CI (CI=%s)', (ci) => {
    vi.stubEnv('CI', ci)
    expect(() => requires({ commands: { 'no-such-command': 'no-such-package' } })).toThrow(
      'CI needs no-such-command (Debian: no-such-package)',
    )
  })

  it.each(['', 'false', '0'])('takes CI=%j for no CI', (ci) => {
    vi.stubEnv('CI', ci)
    expect(requires({ also: { it: false } }).skip).toBe(true)
  })

  it('asks for modules of the system’s Python by name', () => {
    vi.stubEnv('CI', '')
    expect(requires({ pythonModules: { no_such_module: 'python3-no-such-module' } })).toMatchObject({
      reason: "needs Python's no_such_module (Debian: python3-no-such-module)",
    })
  })

  it('finds commands where an ordinary PATH does not look', () => {
    vi.stubEnv('PATH', '/nowhere')
    expect(hasCommand('no-such-command')).toBe(false)
    vi.stubEnv('PATH', '/bin:/usr/bin')
    expect(hasCommand('sh')).toBe(true)
  })
})
