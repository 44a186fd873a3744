import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { expect, it } from 'vitest'

interface Packed {
  readonly files: readonly { readonly path: string; readonly size: number }[]
  readonly size: number
}

const root = new URL('../..', import.meta.url)

function pack(): Packed {
  const json = execFileSync('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], { cwd: root, encoding: 'utf8' })
  return (JSON.parse(json) as [Packed])[0]
}

it('the package holds only what its users need: the build, the sources it points to, and the documents', () => {
  const others = pack()
    .files.map(({ path }) => path)
    .filter((path) => !/^(dist|src)\/.+\.(js|d\.ts|ts|map)$/.test(path))
  expect(others.sort()).toEqual([
    'CHANGELOG.md',
    'LICENSE',
    'README.md',
    'docs/lab.md',
    'docs/other-agents.md',
    'docs/picture.svg',
    'package.json',
  ])
})

it('the package stays small: under 600 kB to download', () => {
  expect(pack().size).toBeLessThan(600_000)
})

it('every dependency at run time is one that was agreed on, and has a job in src/', () => {
  const { dependencies } = JSON.parse(readFileSync(new URL('package.json', root), 'utf8')) as { dependencies: Record<string, string> }
  expect(Object.keys(dependencies).sort()).toEqual(['@noble/hashes', 'debug', 'ip-address'])
})

it('what a user may install beside it is optional, and was agreed on too', () => {
  const { peerDependencies, peerDependenciesMeta } = JSON.parse(readFileSync(new URL('package.json', root), 'utf8'))
  expect(peerDependencies).toEqual({ 'multicast-dns': '^7.2.5' })
  expect(peerDependenciesMeta).toEqual({ 'multicast-dns': { optional: true } })
})
