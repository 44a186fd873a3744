/**
 * What a test needs of the machine. `describe('…', requires({ root: true, commands: { nft: 'nftables' } }), …)` skips with a clear word
 * where it is missing, and the run's last lines say so; with CI set it fails instead, so that nothing is skipped there unseen.
 */
import { spawnSync } from 'node:child_process'
import { accessSync, constants } from 'node:fs'
import { delimiter, join } from 'node:path'
import type { TaskMeta } from 'vitest'
import { canReusePort } from '../src/net/node/index.ts'

export interface Requirements {
  /** Linux, with all of root's rights: network namespaces can be made. */
  readonly root?: boolean
  /** Command to the Debian package that brings it. */
  readonly commands?: Readonly<Record<string, string>>
  /** Module of the system's own /usr/bin/python3 to the Debian package that brings it. */
  readonly pythonModules?: Readonly<Record<string, string>>
  /** Anything else, in words, to whether it is there: `{ 'IPv6 on loopback': hasLoopback6() }`. */
  readonly also?: Readonly<Record<string, boolean>>
}

/** Options for `describe` and `it`; `meta` takes the reason to the list at the end of the run. */
export type Required =
  | { readonly skip: false }
  | { readonly skip: true; readonly reason: string; readonly meta: TaskMeta & { readonly needs: string } }

/** @throws Error in CI, where everything has to be there */
export function requires(requirements: Requirements): Required {
  const missing = [...new Set(missingOf(requirements))]
  if (missing.length === 0) return { skip: false }
  const reason = `needs ${missing.join(', ')}`
  if (inCi()) throw new Error(`CI ${reason}: install it in .ci/run, there is no skipping here`)
  return { skip: true, reason, meta: { needs: reason } }
}

/** Sharing a port needs Node.js 22.12 and a system that can. CI runs on the oldest Node.js too: nothing to install there. */
export async function requiresSharedPorts(): Promise<Required> {
  if (await canReusePort()) return { skip: false }
  const reason = 'needs Node.js 22.12, and a system that shares ports'
  return { skip: true, reason, meta: { needs: reason } }
}

function inCi(): boolean {
  const { CI = '' } = process.env
  return CI !== '' && CI !== 'false' && CI !== '0'
}

function* missingOf({ root, commands = {}, pythonModules = {}, also = {} }: Requirements): Generator<string> {
  if (root && !canMakeNamespaces()) yield 'root on Linux, with network namespaces'
  for (const [command, debian] of Object.entries(commands)) {
    if (!hasCommand(command)) yield debian === command ? `${command} (Debian package)` : `${command} (Debian: ${debian})`
  }
  for (const [module, debian] of Object.entries(pythonModules)) {
    if (spawnSync('/usr/bin/python3', ['-c', `import ${module}`]).status !== 0) yield `Python's ${module} (Debian: ${debian})`
  }
  for (const [what, there] of Object.entries(also)) if (!there) yield what
}

let namespaces: boolean | undefined

function canMakeNamespaces(): boolean {
  // Being uid 0 is not enough: a container's root has no right to make namespaces.
  namespaces ??= process.platform === 'linux' && process.getuid?.() === 0 && spawnSync('unshare', ['--net', 'true']).status === 0
  return namespaces
}

export function hasCommand(command: string): boolean {
  // Services live where an ordinary user's PATH does not look.
  const folders = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/sbin']
  return folders.some((folder) => {
    try {
      accessSync(join(folder, command), constants.X_OK)
      return folder !== ''
    } catch {
      return false
    }
  })
}
