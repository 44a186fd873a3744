import { channel } from 'node:diagnostics_channel'
import { expect, it } from 'vitest'
import type { DiagnosticEvent } from '../src/index.ts'
import { createLab, join, makePeer, say, serveStun } from './traversal/meeting.ts'

it('a meeting can be followed on the diagnostics channels, and none of them tells a secret', async () => {
  const events: string[] = []
  const listen = (area: string) => {
    const listener = (event: unknown): void => void events.push(JSON.stringify({ area, ...(event as DiagnosticEvent) }))
    channel(`sallyport:${area}`).subscribe(listener)
    return () => channel(`sallyport:${area}`).unsubscribe(listener)
  }
  const stops = ['gather', 'signal', 'ice', 'path', 'drop'].map(listen)
  const lab = createLab()
  await serveStun(lab)
  const a = await makePeer(lab.host('a', { behind: lab.router('ra') }), 'b')
  const b = await makePeer(lab.host('b', { behind: lab.router('rb') }), 'a')
  const passwords: string[] = []
  for (const { session } of [a, b]) session.on('signal', ({ pwd }) => void passwords.push(pwd))
  join(lab, a, b)
  await lab.until(Promise.all([a.session.ready, b.session.ready]))
  a.session.signal({} as never)
  say(a, 'a secret of the application')
  await lab.run(500)
  for (const stop of stops) stop()
  const count = events.length
  await a.traversal.close()
  await b.traversal.close()
  expect(events).toHaveLength(count)

  const text = events.join('\n')
  expect(text).toMatch(/"area":"gather","event":"candidate","candidate":"candidate:\S+ 1 udp \d+ 203\.0\.113/)
  expect(text).toMatch(/"area":"signal","event":"sent","peer":"b"/)
  expect(text).toMatch(/"area":"ice","event":"note","peer":"a","text":"valid: direct/)
  expect(text).toMatch(/"area":"path","event":"path","peer":"b","kind":"direct"/)
  expect(text).toMatch(/"area":"drop","event":"refused","peer":"b","reason":"signal: version/)
  expect(passwords.length).toBeGreaterThan(0)
  for (const password of passwords) expect(text).not.toContain(password)
  expect(text).not.toContain('a secret of the application')
})
