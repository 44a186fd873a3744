/** `sallyport demo`: what the library does, on real sockets and behind NATs. Exit code 0 only when both parts worked. */
import { colours, milliseconds } from '../format.ts'
import { readOptions } from '../usage.ts'
import { type Meeting, Stage } from './stage.ts'

export async function demo(args: readonly string[]): Promise<number> {
  readOptions('demo', args, {})
  process.stdout.once('error', () => process.exit(1)) // nobody watches any more
  const painted = colours(process.stdout)
  const { bold, dim } = painted
  const stage = new Stage(painted, process.stdout.isTTY === true)

  console.log(`\n${bold('1  Three processes on real sockets:')} ${dim('a STUN server and two peers on this machine')}\n`)
  const { meetOnSockets } = await import('./processes.ts')
  const real = await attempt(stage, () => meetOnSockets(stage))

  console.log(`\n${bold('2  Two peers behind two NATs:')} ${dim('a virtual internet in this process, in virtual time')}\n`)
  const { meetBehindNats } = await import('./virtual.ts')
  const virtual = await attempt(stage, () => meetBehindNats(stage))

  if (real && virtual)
    console.log(`\nBoth worked. Now with a friend: ${bold('npx sallyport connect --stun HOST:PORT')} ${dim('on both sides')}\n`)
  return real && virtual ? 0 : 1
}

async function attempt(stage: Stage, part: () => Promise<Meeting>): Promise<boolean> {
  const { bold, dim, green, red } = stage.colours
  try {
    const { path, took } = await part()
    const ends = `${path.local} ${path.localAddress} ${dim('<>')} ${path.remote} ${path.remoteAddress}`
    console.log(`\n   ${green(bold(path.kind === 'direct' ? 'Direct' : 'Relayed'))}  ${ends}`)
    console.log(
      dim(`           data both ways ${took.map(milliseconds).join(' and ')} ms after each peer began to gather, by its own clock`),
    )
    return true
  } catch (error) {
    console.log(`\n   ${red(bold('No path'))}  ${error instanceof Error ? error.message : String(error)}`)
    return false
  }
}
