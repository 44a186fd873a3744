import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { checkFloors } from '../../scripts/floors.mjs'

const trees: string[] = []

/** A source tree of its own: path under src to text. */
function breachesOf(files: Record<string, string>): string[] {
  const root = mkdtempSync(join(tmpdir(), 'floors-'))
  trees.push(root)
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(root, path)), { recursive: true })
    writeFileSync(join(root, path), text)
  }
  return checkFloors(root)
}

afterEach(() => {
  for (const tree of trees.splice(0)) rmSync(tree, { recursive: true })
})

describe('imports', () => {
  it.each([
    ['a room below through its index', 'ice/agent.ts', `import { Message } from '../stun/index.ts'`],
    ['the ground floor by its file', 'ice/agent.ts', `import { SallyportError } from '../errors.ts'`],
    ['a neighbour in the same room', 'ice/agent.ts', `import { Pair } from './pair.ts'`],
    ['the operating system, from where it is chosen', 'traversal.ts', `import { nodeNetwork } from './net/node/index.ts'`],
    ['the interfaces, from their implementation', 'net/node/clock.ts', `import type { Clock } from '../clock.ts'`],
    ['lab, from the demo', 'cli/demo.ts', `import { Lab } from '../lab/index.ts'`],
    ['net, from lab', 'lab/host.ts', `import { Address } from '../net/index.ts'`],
    ['rooms, from the public face', 'index.ts', `export { Message } from './stun/index.ts'`],
  ])('may reach %s', (_what, file, text) => {
    expect(breachesOf({ [file]: text })).toEqual([])
  })

  it.each([
    ['upward', 'stun/message.ts', `import { Agent } from '../ice/index.ts'`, 'upstairs'],
    ['upward for types only', 'stun/message.ts', `import type { Agent } from '../ice/index.ts'`, 'upstairs'],
    ['upward when loaded late', 'stun/message.ts', `const ice = await import('../ice/index.ts')`, 'upstairs'],
    ['upward in a type', 'stun/message.ts', `export type A = import('../ice/index.ts').Agent`, 'upstairs'],
    ['upward in a re-export', 'net/index.ts', `export { Agent } from '../ice/index.ts'`, 'upstairs'],
    ['from a session to its traversal', 'session.ts', `import { Traversal } from './traversal.ts'`, 'upstairs'],
    ['across the ground floor', 'errors.ts', `import { publish } from './diagnostics.ts'`, 'upstairs'],
    ["past a room's index", 'ice/agent.ts', `import { Message } from '../stun/message.ts'`, 'past stun/index.ts'],
    ['cli', 'index.ts', `import { main } from './cli/main.ts'`, 'nothing imports cli'],
    ['lab, from a room above it', 'ice/agent.ts', `import { Lab } from '../lab/index.ts'`, 'only cli/demo'],
    ['lab, from the rest of the command line', 'cli/serve.ts', `import { Lab } from '../lab/index.ts'`, 'only cli/demo'],
    ['stun, from lab', 'lab/host.ts', `import { Message } from '../stun/index.ts'`, 'lab stands on'],
    [
      'the operating system, from a room',
      'relay/client.ts',
      `import { nodeNetwork } from '../net/node/index.ts'`,
      'choose the operating system',
    ],
    [
      'the operating system, from the interfaces',
      'net/network.ts',
      `import { nodeNetwork } from './node/index.ts'`,
      'choose the operating system',
    ],
    ['a file of the operating system', 'traversal.ts', `import { nodeClock } from './net/node/clock.ts'`, 'past net/node/index.ts'],
    ['outside src', 'ice/agent.ts', `import { helper } from '../../test/helper.ts'`, 'outside src'],
  ])('may not go %s', (_what, file, text, message) => {
    expect(breachesOf({ [file]: text })).toEqual([expect.stringMatching(new RegExp(`^${file}:1 .*${message}`))])
  })

  it('report a room that has no floor yet', () => {
    expect(breachesOf({ 'attic/chest.ts': 'export {}' })).toEqual([expect.stringContaining('attic has no floor')])
  })
})

describe('modules of Node.js', () => {
  it.each([
    ['ice/agent.ts', `import { createSocket } from 'node:dgram'`],
    ['ice/agent.ts', `import { createSocket } from 'dgram'`],
    ['ice/agent.ts', `import { type Socket, createSocket } from 'node:dgram'`],
    ['net/socket.ts', `export * from 'node:dgram'`],
    ['ice/agent.ts', `const dgram = await import('node:dgram')`],
    ['ice/agent.ts', `import { EventEmitter } from 'node:events'`],
    ['session.ts', `import { readFileSync } from 'node:fs'`],
  ])('are refused in %s: %s', (file, text) => {
    expect(breachesOf({ [file]: text })).toEqual([expect.stringContaining('comes in through net')])
  })

  it.each([
    ['net/node/socket.ts', `import { createSocket } from 'node:dgram'`],
    ['cli/main.ts', `import { parseArgs } from 'node:util'`],
    ['session.ts', `import { EventEmitter } from 'node:events'`],
    ['diagnostics.ts', `import { channel } from 'node:diagnostics_channel'`],
    ['ice/agent.ts', `import type { Socket } from 'node:dgram'`],
    ['ice/agent.ts', `import { type Socket } from 'node:dgram'`],
    ['keys/pair.ts', `import { sha256 } from '@noble/hashes/sha2.js'`],
  ])('are taken in %s: %s', (file, text) => {
    expect(breachesOf({ [file]: text })).toEqual([])
  })
})

describe('time and chance', () => {
  it.each([
    'Date.now()',
    'new Date()',
    'performance.now()',
    'setTimeout(f, 1)',
    'setInterval(f, 1)',
    'setImmediate(f)',
    'Math.random()',
    'crypto.randomUUID()',
    'globalThis.setTimeout(f, 1)',
    'const later = { setTimeout }',
    'run(setTimeout)',
  ])('%s is refused in a room', (code) => {
    expect(breachesOf({ 'ice/agent.ts': `${code}\n` })).toEqual([expect.stringContaining('Clock and Random')])
  })

  it('are found in the line they stand on', () => {
    expect(breachesOf({ 'ice/agent.ts': '// Date.now() in a comment\n\nexport const now = Date.now()\n' })).toEqual([
      expect.stringMatching(/^ice\/agent\.ts:3 Date/),
    ])
  })

  it.each([
    'clock.setTimeout(f, 1)',
    'const a = { Date: 1 }',
    'let when: Date',
    'function f(performance: number) { return performance }',
    'Math.floor(1.5)',
    'queueMicrotask(f)',
  ])('%s is none of them', (code) => {
    expect(breachesOf({ 'ice/agent.ts': `${code}\n` })).toEqual([])
  })

  it('are at home where the operating system is', () => {
    expect(breachesOf({ 'net/node/clock.ts': 'setTimeout(() => Date.now(), 1)\n', 'cli/main.ts': 'console.log(new Date())\n' })).toEqual([])
  })

  it('stop at setImmediate in lab, which drains microtasks with it', () => {
    expect(breachesOf({ 'lab/clock.ts': 'setImmediate(f)\n' })).toEqual([])
    expect(breachesOf({ 'lab/clock.ts': 'setTimeout(f, 0)\n' })).toHaveLength(1)
  })
})
