import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { afterEach, describe, expect, it } from 'vitest'

const MODULE = new URL('../../../dist/net/node/termination.js', import.meta.url).href

const children = new Set<ChildProcess>()
afterEach(() => {
  for (const child of children) child.kill('SIGKILL')
  children.clear()
})

/** A program that says `ready` and then waits; `say` writes at once, also when the process ends right after it. */
function program(body: string): { readonly child: ChildProcess; readonly ready: Promise<void>; readonly ended: Promise<Ending> } {
  const source = `
    import { writeSync } from 'node:fs'
    import { onTermination } from ${JSON.stringify(MODULE)}
    const say = (word) => writeSync(1, word + '\\n')
    const wait = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds))
    const stay = () => setInterval(() => {}, 1000)
    ${body}
    say('ready')`
  const child = spawn(process.execPath, ['--input-type=module', '-e', source], { stdio: ['ignore', 'pipe', 'inherit'] })
  children.add(child)
  let said = ''
  let begun: () => void
  const ready = new Promise<void>((resolve) => {
    begun = resolve
  })
  child.stdout?.setEncoding('utf8').on('data', (text: string) => {
    said += text
    if (said.split('\n').includes('ready')) begun()
  })
  const ended = once(child, 'close').then(([code, signal]): Ending => {
    children.delete(child)
    return { by: signal ?? code, said: said.split('\n').filter((word) => word !== 'ready' && word !== '') }
  })
  return { child, ready, ended }
}

interface Ending {
  readonly by: string | number
  readonly said: readonly string[]
}

async function ending(body: string, ...signals: NodeJS.Signals[]): Promise<Ending> {
  const { child, ready, ended } = program(body)
  await ready
  for (const signal of signals) child.kill(signal)
  return ended
}

describe.each<NodeJS.Signals>(['SIGINT', 'SIGTERM'])('%s', (signal) => {
  it('ends the process, as itself, when what had to be done is done', async () => {
    const body = `stay(); onTermination(async () => { await wait(50); say('released') })`
    expect(await ending(body, signal)).toEqual({ by: signal, said: ['released'] })
  })

  it('ends it although what has to be done does not', async () => {
    const body = `stay(); onTermination(() => { say('begun'); return new Promise(() => {}) })`
    expect(await ending(body, signal)).toEqual({ by: signal, said: ['begun'] })
  })

  it('leaves the end to a program that listens itself', async () => {
    const body = `
      onTermination(async () => say('released'))
      const timer = stay()
      process.on('${signal}', async () => { await wait(100); say('own'); process.exitCode = 7; clearInterval(timer) })`
    expect(await ending(body, signal)).toEqual({ by: 7, said: ['released', 'own'] })
  })

  it('leaves it to one that listens once, and did so before', async () => {
    const body = `
      const timer = stay()
      process.once('${signal}', async () => { await wait(100); say('own'); process.exitCode = 7; clearInterval(timer) })
      onTermination(async () => say('released'))`
    expect(await ending(body, signal)).toEqual({ by: 7, said: ['released', 'own'] })
  })

  it('a second time waits for the first', async () => {
    const body = `
      stay()
      let released
      onTermination(() => (released ??= wait(200).then(() => say('released'))))`
    expect(await ending(body, signal, signal)).toEqual({ by: signal, said: ['released'] })
  })
})

it('everything that is to be done is done, whatever fails', async () => {
  const body = `
    stay()
    onTermination(async () => say('one'))
    onTermination(async () => { throw new Error('two') })
    onTermination(async () => say('three'))`
  expect(await ending(body, 'SIGTERM')).toEqual({ by: 'SIGTERM', said: ['one', 'three'] })
})

it('what was taken back is not done; without anything left the signal ends the process at once', async () => {
  const body = `stay(); onTermination(async () => say('released'))(); say(process.listenerCount('SIGTERM'))`
  expect(await ending(body, 'SIGTERM')).toEqual({ by: 'SIGTERM', said: ['0'] })
})

it('what takes itself back while it is done is waited for all the same', async () => {
  const body = `
    stay()
    const back = onTermination(async () => { back(); await wait(100); say('released') })`
  expect(await ending(body, 'SIGTERM')).toEqual({ by: 'SIGTERM', said: ['released'] })
})

it('it keeps no process alive', async () => {
  expect(await program(`onTermination(async () => say('released'))`).ended).toEqual({ by: 0, said: [] })
})
