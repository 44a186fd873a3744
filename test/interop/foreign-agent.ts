/**
 * Other people's ICE agents, each a process that speaks JSON lines. It takes `--controlling` or `--controlled`, and of `StartOptions` what
 * it can; what it cannot is in its entry of `AGENTS`.
 *
 * In: `{"signal": …}`, our side's signals, and `{"restart": true}`, to start over with new credentials. Out: `{"signal": …}`, its
 * description in the same form but without `id`, one for each candidate or with more at a time; `{"connected": {…}}` once it considers
 * itself connected, and again after each restart; `{"received": text}` for each datagram it has not had before; `{"failed": why}`. Once connected
 * it sends `ping <its name>` until that is answered, after the first restart `ping <its name> 2` and so on, and it answers any other
 * datagram with `pong ` and the datagram, as `sallyport connect --json` does. It leaves when its standard input ends.
 *
 * Whole WebRTC stacks carry DTLS, which our side does not speak: it arrives as datagrams, and `ping` and `pong` come to something only when our
 * side passes it all on to another stack, for which their signals have a `fingerprint`. They tell `{"state": …}` at each change of their ICE's.
 *
 * A signal of ours with another `ufrag` is the answer to a restart of its own that has had none, and else a restart of ours, to which it
 * answers with one of its own (RFC 8445 9). One whose `for` names another generation of it says nothing any more.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdir, rename } from 'node:fs/promises'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import type { Signal } from '../../src/index.ts'
import type { RelayTransport } from '../../src/relay/index.ts'
import type { Requirements } from '../requirements.ts'

/** What not every agent can do. */
export type Ability = 'data' | 'restart' | 'lite' | 'settle role conflicts'

/** A TURN server, and what lets it in. Whoever is told of one offers its relayed address there and no other. */
export interface TurnServer {
  readonly transport: RelayTransport
  readonly host: string
  readonly port: number
  readonly username: string
  readonly password: string
  /** For TLS: a file with the certificate to trust. */
  readonly ca?: string
}

export interface Foreign {
  readonly name: string
  readonly command: string
  readonly args: readonly string[]
  readonly needs: Requirements
  /** How it reaches a TURN server. */
  readonly relays: readonly RelayTransport[]
  /** Why its allocation does not outlive its nonce. */
  readonly keepsNonce?: string
  /** Why it does not refresh a short-lived allocation in time. */
  readonly keepsPace?: string
  /** Why its allocation lives on when it has left. */
  readonly abandons?: string
  /** Compiles it, where that has to be. Any number of times. */
  readonly prepare?: () => Promise<void>
  /** Why it cannot. */
  readonly cannot?: Readonly<Partial<Record<Ability, string>>>
}

const GO_SOURCES = '/usr/share/gocode'
const PION = pathOf('../../node_modules/.cache/sallyport/pion_peer')
const NICE: Pick<Foreign, 'command' | 'needs' | 'relays'> = {
  command: '/usr/bin/python3',
  needs: { pythonModules: { gi: 'python3-gi', 'gi.repository.Nice': 'gir1.2-nice-0.1' } },
  // What it calls TLS is the beginning of a handshake, for servers of Google's and Microsoft's own.
  relays: ['udp', 'tcp'],
}

export const AGENTS: readonly Foreign[] = [
  {
    name: 'werift',
    command: process.execPath,
    args: [pathOf('werift-peer.js')],
    needs: {},
    relays: ['udp', 'tcp', 'tls'],
    keepsNonce: 'werift 0.24 passes over a 438 without integrity, and leaves the old integrity in the request that it sends again',
    abandons: 'werift closes its socket',
  },
  {
    name: 'aioice',
    command: '/usr/bin/python3',
    args: [pathOf('aioice_peer.py')],
    needs: { pythonModules: { aioice: 'python3-aioice' } },
    relays: ['udp', 'tcp', 'tls'],
    cannot: { restart: 'aioice has no restart', lite: 'aioice has no lite agent' },
  },
  { name: 'libnice', ...NICE, args: [pathOf('nice_peer.py')] },
  { name: 'libnice-renomination', ...NICE, args: [pathOf('nice_peer.py'), '--renomination'] },
  {
    name: 'pion',
    command: PION,
    args: [],
    needs: {
      commands: { go: 'golang-go' },
      also: { "pion's source (Debian: golang-github-pion-ice.v2-dev)": existsSync(`${GO_SOURCES}/src/github.com/pion/ice/v2`) },
    },
    relays: ['udp', 'tcp', 'tls'],
    prepare: buildPion,
    cannot: { 'settle role conflicts': 'pion 2.3 drops checks of its own role' },
  },
  {
    name: 'libdatachannel',
    command: process.execPath,
    args: [pathOf('datachannel-peer.js')],
    needs: {},
    relays: ['udp'],
    keepsPace: 'libjuice refreshes an allocation after nine minutes, whatever the server says of its life',
    abandons: 'libjuice closes its socket',
    cannot: {
      data: "libdatachannel's data is DTLS, and goes both ways in webrtc.test.ts",
      lite: 'libdatachannel has no lite agent',
      restart: 'libjuice has no restart',
    },
  },
  {
    name: 'chromium',
    command: process.execPath,
    args: [pathOf('chromium-peer.js')],
    needs: { commands: { chromium: 'chromium' } },
    relays: ['udp', 'tcp', 'tls'],
    cannot: { data: "Chromium's data is DTLS, and goes both ways in webrtc.test.ts", lite: 'Chromium has no lite agent' },
  },
]

/** Another agent's signal. */
export type ForeignSignal = Signal & { readonly fingerprint?: string }

/** Go knows by itself whether there is anything to do. */
async function buildPion(): Promise<void> {
  await mkdir(pathOf('../../node_modules/.cache/sallyport'), { recursive: true })
  // Nobody starts one that is half written.
  const fresh = `${PION}.${process.pid}`
  const env = { ...process.env, GO111MODULE: 'off', GOPATH: GO_SOURCES, CGO_ENABLED: '0' }
  await promisify(execFile)('go', ['build', '-o', fresh, pathOf('pion_peer.go')], { env })
  await rename(fresh, PION)
}

export interface Connected {
  /** Absent where the agent does not tell its role of the moment. */
  readonly controlling?: boolean
  /** Candidate types. */
  readonly local: string
  readonly remote: string
  /** Where it sends to, ip:port. */
  readonly address: string
}

/** What any of the programs here may write, `sallyport connect --json` too. */
export interface Line {
  readonly signal?: ForeignSignal
  readonly connected?: Connected
  readonly received?: string
  readonly failed?: string
  readonly state?: string
  readonly event?: string
  /** Of a message. */
  readonly text?: string
  readonly kind?: string
  readonly done?: boolean
  readonly ms?: number
  readonly direct?: boolean
  readonly local?: string
  readonly remote?: string
  readonly listening?: readonly string[]
}

/** A program that writes JSON lines. */
export class LineProcess {
  readonly #child: ChildProcess
  readonly #exited: Promise<number | null>
  readonly #lines: Line[] = []
  readonly #waiting = new Set<() => void>()
  #onSignal: (signal: ForeignSignal) => void = () => {}
  readonly #name: string
  #over: string | undefined
  #errors = ''

  /** @param child has pipes for its standard streams */
  constructor(name: string, child: ChildProcess) {
    this.#name = name
    this.#child = child
    child.stderr?.on('data', (chunk) => {
      this.#errors += chunk
    })
    this.#exited = new Promise((resolve) => {
      child.once('error', (error) => this.#end(`it does not start: ${error.message}`))
      child.once('close', (code) => {
        this.#end(`it left with ${code}: ${this.#errors}`)
        resolve(code)
      })
    })
    // That it is gone is told by its end.
    child.stdin?.on('error', () => {})
    createInterface({ input: child.stdout as NodeJS.ReadableStream }).on('line', (text) => this.#line(JSON.parse(text) as Line))
  }

  signal(signal: ForeignSignal): void {
    this.#write({ signal })
  }

  /** Starts over with new credentials. */
  restart(): void {
    this.#write({ restart: true })
  }

  /** Signals it wrote, also those before this call. */
  onSignal(handler: (signal: ForeignSignal) => void): void {
    this.#onSignal = handler
    for (const { signal } of this.#lines) if (signal !== undefined) handler(signal)
  }

  /** The first line, or the nth, written already or later, of which `find` makes something. Rejects when it fails or ends without. */
  find<T>(find: (line: Line) => T | undefined, nth = 1): Promise<T> {
    return new Promise((resolve, reject) => {
      const look = (): void => {
        const found = this.all(find)[nth - 1]
        if (found === undefined && this.#over === undefined) return
        this.#waiting.delete(look)
        if (found !== undefined) resolve(found)
        else reject(new Error(this.#over))
      }
      this.#waiting.add(look)
      look()
    })
  }

  /** What `find` makes of the lines so far. */
  all<T>(find: (line: Line) => T | undefined): T[] {
    return this.#lines.map(find).filter((value) => value !== undefined)
  }

  /** For the nth time, that is after so many restarts and one. */
  connected(nth = 1): Promise<Connected> {
    return this.find(({ connected }) => connected, nth)
  }

  async received(text: string): Promise<void> {
    await this.find(({ received }) => received === text || undefined)
  }

  /** Ends its input, and resolves with its exit code. */
  close(): Promise<number | null> {
    this.#child.stdin?.end()
    return this.#exited
  }

  /** For the reader of a failure: what it wrote last. */
  get account(): string {
    const lines = this.#lines.slice(-30).map((line) => JSON.stringify(line).slice(0, 400))
    return [`${this.#name}:`, ...lines, this.#over ?? '', this.#errors].join('\n')
  }

  #write(line: object): void {
    this.#child.stdin?.write(`${JSON.stringify(line)}\n`)
  }

  #line(line: Line): void {
    this.#lines.push(line)
    if (line.signal !== undefined) this.#onSignal(line.signal)
    if (line.failed !== undefined) this.#end(`it failed: ${line.failed}`)
    for (const look of [...this.#waiting]) look()
  }

  #end(reason: string): void {
    this.#over ??= reason
    for (const look of [...this.#waiting]) look()
  }
}

export interface StartOptions {
  readonly controlling: boolean
  /** host:port */
  readonly stun?: string
  readonly turn?: TurnServer
  /** Offers 127.0.0.1 too. */
  readonly loopback?: boolean
  /** False: it is to signal once, when all its candidates are there, if it makes a difference. */
  readonly trickle?: boolean
  /** It answers checks and sends none. */
  readonly lite?: boolean
  /** Starts the program, elsewhere than here perhaps. */
  readonly start?: (command: string, args: readonly string[]) => ChildProcess
}

export function startAgent({ name, command, args }: Foreign, options: StartOptions): LineProcess {
  const { controlling, stun, turn, loopback = false, trickle = true, lite = false, start = spawn } = options
  const more = [
    controlling ? '--controlling' : '--controlled',
    ...(stun === undefined ? [] : ['--stun', stun]),
    ...(turn === undefined ? [] : ['--turn', JSON.stringify(turn)]),
    ...(loopback ? ['--loopback'] : []),
    ...(trickle ? [] : ['--no-trickle']),
    ...(lite ? ['--lite'] : []),
  ]
  return new LineProcess(name, start(command, [...args, ...more]))
}

export function pathOf(file: string): string {
  return fileURLToPath(new URL(file, import.meta.url))
}
