import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, it, onTestFinished } from 'vitest'

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
    'docs/scaling.md',
    'package.json',
  ])
})

it('the package stays small: under 1,100 kB to download', () => {
  expect(pack().size).toBeLessThan(1_100_000)
})

it('every dependency at run time is one that was agreed on, and has a job in src/', () => {
  const { dependencies } = JSON.parse(readFileSync(new URL('package.json', root), 'utf8')) as { dependencies: Record<string, string> }
  expect(Object.keys(dependencies).sort()).toEqual(['@noble/hashes', 'debug', 'ip-address', 'sax'])
})

it('what a user may install beside it is optional, and was agreed on too', () => {
  const { peerDependencies, peerDependenciesMeta } = JSON.parse(readFileSync(new URL('package.json', root), 'utf8'))
  expect(peerDependencies).toEqual({ 'multicast-dns': '^7.2.5', 'prom-client': '^15.1.3' })
  expect(peerDependenciesMeta).toEqual({ 'multicast-dns': { optional: true }, 'prom-client': { optional: true } })
})

/** A project of somebody else's that has installed the package as it is packed, what it depends on, and the types of Node.js. */
function newProject(): string {
  const folder = mkdtempSync(join(tmpdir(), 'sallyport-user-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  const { dependencies } = JSON.parse(readFileSync(new URL('package.json', root), 'utf8')) as { dependencies: Record<string, string> }
  for (const name of [...Object.keys(dependencies), '@types/node', 'undici-types']) {
    const place = join(folder, 'node_modules', name)
    mkdirSync(dirname(place), { recursive: true })
    symlinkSync(fileURLToPath(new URL(`node_modules/${name}`, root)), place)
  }
  execFileSync('npm', ['pack', '--ignore-scripts', '--silent', '--pack-destination', folder], { cwd: root })
  const installed = join(folder, 'node_modules/sallyport')
  mkdirSync(installed)
  const { version } = JSON.parse(readFileSync(new URL('package.json', root), 'utf8')) as { version: string }
  execFileSync('tar', ['-xzf', `sallyport-${version}.tgz`, '-C', installed, '--strip-components', '1'], { cwd: folder })
  return folder
}

const STRICT = {
  module: 'nodenext',
  target: 'es2022',
  lib: ['es2023', 'esnext.disposable'],
  types: ['node'],
  strict: true,
  exactOptionalPropertyTypes: true,
  skipLibCheck: false,
  noEmit: true,
}

/** What the compiler complains of in these modules and all declarations that they reach; nothing when it is content. */
function compile(...modules: readonly string[]): string {
  const folder = newProject()
  writeFileSync(join(folder, 'package.json'), '{ "type": "module" }')
  writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify({ compilerOptions: STRICT, include: ['*.ts'] }))
  for (const [index, code] of modules.entries()) writeFileSync(join(folder, `module-${index}.ts`), code)
  try {
    execFileSync(process.execPath, [fileURLToPath(new URL('node_modules/typescript/bin/tsc', root)), '-p', '.'], {
      cwd: folder,
      encoding: 'utf8',
    })
    return ''
  } catch (error) {
    return (error as { readonly stdout: string }).stdout
  }
}

it('a strict TypeScript program that checks the declarations of its libraries too can use all entries', () => {
  const code = `
    import { createTraversal, type Session } from 'sallyport'
    import { createLab, type LabHost, Router } from 'sallyport/lab'
    import { restCredentials } from 'sallyport/relay'
    import { createStunServer } from 'sallyport/stun'

    const lab = createLab({ seed: 7 })
    const home: Router = lab.router('home', { nat: 'portRestricted' })
    const host: LabHost = lab.host('stun', { behind: home })
    const server = await createStunServer({ network: host, port: 3478 })
    const traversal = await createTraversal({ network: host, servers: server.addresses.map((address) => \`stun:\${address}\`) })
    const { username }: { username: string } = restCredentials({ secret: 'shared', user: 'ann', now: Date.now() })
    console.log(username)
    const session: Session = traversal.connect({ peer: 'bob' })
    session.on('message', (data: Uint8Array) => console.log(data.length))
    // @ts-expect-error shows that something is looked at
    session.on('message', (data: string) => console.log(data))
  `
  // What the guide shows that is whole: the first sample needs a game.
  const [, ...samples] = readFileSync(new URL('docs/lab.md', root), 'utf8').split('```ts\n')
  const whole = samples.map((sample) => sample.slice(0, sample.indexOf('```'))).filter((sample) => sample.includes("from 'sallyport'"))
  expect(whole).toHaveLength(2)
  expect(compile(code, ...whole)).toBe('')
}, 120_000)
