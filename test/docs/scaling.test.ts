import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { expect, it } from 'vitest'

const guide = new URL('../../docs/scaling.md', import.meta.url)
const text = readFileSync(guide, 'utf8')

/** "10,000 games, 64 kbit/s in 100 bytes", and the cells behind it. */
const rows = [...text.matchAll(/^\| ([\d,]+) [\w ]+, ([\d,]+) kbit\/s in ([\d,]+) bytes \|(.*)\|$/gm)].map(
  ([, sessions = '', kbits = '', bytes = '', cells = '']) => ({
    load: [sessions, kbits, bytes].map((number) => number.replaceAll(',', '')),
    cells: cells.split('|').map((cell) => cell.trim()),
  }),
)

it('has a table of loads to compute', () => {
  expect(rows).toHaveLength(4)
})

it.each(rows)('says what the example computes for %o', ({ load: [sessions = '', kbits = '', bytes = ''], cells }) => {
  const size = fileURLToPath(new URL('../../examples/fleet/size.js', import.meta.url))
  const args = ['--sessions', sessions, '--kbits', kbits, '--bytes', bytes]
  const [, ...results] = execFileSync(process.execPath, [size, ...args], { encoding: 'utf8' })
    .trim()
    .split('\n')
  expect(cells).toEqual(results.map((line) => line.split(/ {2,}/)[1]))
})

it('leads to files that are there', () => {
  const links = [...text.matchAll(/\]\((\.\.[^)#]*)\)/g)].map(([, link = '']) => link)
  expect(links.length).toBeGreaterThan(3)
  expect(links.filter((link) => !existsSync(new URL(link, guide)))).toEqual([])
})
