import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import ts from 'typescript'
import { expect, it } from 'vitest'

const root = new URL('../..', import.meta.url)

/** Runs a piece of the guide as its reader would: as a module of its own, on the built package. */
function runExample(mark: string, change: (code: string) => string = (code) => code): unknown {
  const guide = readFileSync(new URL('docs/lab.md', root), 'utf8')
  const example = guide.split('```ts\n').find((piece) => piece.includes(mark)) ?? ''
  const code = `${change(example.slice(0, example.indexOf('```')))}\nconsole.log(JSON.stringify(path))\nprocess.exit(0)`
  const { outputText } = ts.transpileModule(code, { compilerOptions: { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ESNext } })
  return JSON.parse(execFileSync(process.execPath, ['--input-type=module', '-e', outputText], { cwd: root, encoding: 'utf8' }))
}

it('the example with traversals connects as it says: a symmetric NAT with a full cone', () => {
  expect(runExample('createTraversal')).toMatchObject({ kind: 'direct' })
})

it('and with a port-restricted NAT it rejects as it says', () => {
  const rejected = runExample('createTraversal', (code) =>
    code.replaceAll("'fullCone'", "'portRestricted'").replace('lab.until(alice.ready)', 'lab.until(alice.ready).catch(({ code }) => code)'),
  )
  expect(rejected).toBe('ERR_NO_PATH')
})

it('the example of a game ticks twenty times a second, in the time of its network', () => {
  const steps = runExample('play(', (code) =>
    [
      code,
      "const lab = (await import('sallyport/lab')).createLab()",
      'let path = 0',
      "play(() => path++, lab.host('player'))",
      'await lab.run(10_000)',
    ].join('\n'),
  )
  expect(steps).toBe(201)
})

it('the example of port mapping has the mapping that it asks for', () => {
  const mappings = runExample('portMapping: {')
  expect(mappings).toEqual([
    {
      protocol: 'nat-pmp',
      transport: 'udp',
      external: '203.0.113.1:7000',
      internal: '192.168.1.2:5000',
      expiresAt: expect.any(Number),
      description: '',
    },
  ])
})
