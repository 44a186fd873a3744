/** The relays that `sallyport connect` and `doctor` are given: addresses or URIs, and whose the n-th user name and password are. */
import type { IceServer } from '../options.ts'
import { type CommandName, UsageError } from './usage.ts'

/** @throws UsageError when there is not one pair for all, or one for each */
export function turnServers(
  servers: readonly string[],
  users: readonly string[],
  passwords: readonly string[],
  command: CommandName = 'connect',
  option = '--turn',
): readonly IceServer[] {
  if (servers.length === 0) {
    if (users.length > 0 || passwords.length > 0) throw new UsageError(`${command}: --turn-user and --turn-pass go with ${option}`)
    return []
  }
  for (const [name, given] of [
    ['turn-user', users],
    ['turn-pass', passwords],
  ] as const) {
    if (given.length === 1 || given.length === servers.length) continue
    const wanted = servers.length === 1 ? 'one' : `one for all relays, or ${servers.length}, one for each`
    throw new UsageError(`${command}: --${name}: there are ${given.length}, and ${option} wants ${wanted}`)
  }
  return servers.map((server, n) => ({
    urls: uriOf(server),
    username: users[n] ?? users[0] ?? '',
    credential: passwords[n] ?? passwords[0] ?? '',
  }))
}

/** A host may be called "turn": then what follows is its port. */
function uriOf(server: string): string {
  return /^turns?:(?!\d+$)/i.test(server) ? server : `turn:${server}`
}
