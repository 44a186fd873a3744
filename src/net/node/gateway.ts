/** Where the default routes lead: read from /proc on Linux, asked of the system's own tool elsewhere. The parsers are next door. */
import { readFileSync } from 'node:fs'
import { endianness, networkInterfaces } from 'node:os'
import type { DefaultRoute, Gateway } from '../interfaces.ts'
import { parseNetstat, parseProcIpv6Route, parseProcRoute, parseRoutePrint, type WindowsNames } from './route-tables.ts'

/** Milliseconds the system's tool may take. */
const TOOL_TIMEOUT = 3000

export function nodeGateway(): Gateway {
  return { defaultRoutes }
}

async function defaultRoutes(): Promise<readonly DefaultRoute[]> {
  try {
    if (process.platform === 'linux' || process.platform === 'android') return fromProc()
    if (process.platform === 'win32') return parseRoutePrint(await run('route', ['print']), windowsNames())
    return parseNetstat(await run('netstat', ['-rn']))
  } catch {
    return [] // no such tool, or it hangs: the same as a system that does not tell
  }
}

function fromProc(): readonly DefaultRoute[] {
  return [...parseProcRoute(readProc('/proc/net/route'), endianness() === 'LE'), ...parseProcIpv6Route(readProc('/proc/net/ipv6_route'))]
}

/** At once: the kernel answers from memory, and a trip to a worker thread would cost a cold start more than the reading. */
function readProc(path: string): string {
  try {
    return readFileSync(path, 'latin1')
  } catch {
    return ''
  }
}

async function run(command: string, args: readonly string[]): Promise<string> {
  const { execFile } = await import('node:child_process')
  return new Promise((resolve, reject) => {
    execFile(command, args, { timeout: TOOL_TIMEOUT, windowsHide: true, maxBuffer: 4 << 20 }, (error, stdout) => {
      if (error) reject(error)
      else resolve(stdout)
    })
  })
}

function windowsNames(): WindowsNames {
  const byIp = new Map<string, string>()
  const byIndex = new Map<number, string>()
  for (const [name, infos = []] of Object.entries(networkInterfaces())) {
    for (const info of infos) {
      byIp.set(info.address, name)
      // Every interface with IPv6 has a link-local address, and its zone is the number of the interface.
      if (info.family === 'IPv6' && info.scopeid > 0) byIndex.set(info.scopeid, name)
    }
  }
  return { byIp: (ip) => byIp.get(ip), byIndex: (index) => byIndex.get(index) }
}
