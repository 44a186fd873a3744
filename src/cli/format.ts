/** How things look on a terminal: colours where they are welcome, and one way to write each thing. Nothing is printed here. */
import { styleText } from 'node:util'
import { parseCandidate } from '../candidates/index.ts'
import type { Path } from '../path/index.ts'

type Paint = (text: string) => string

export interface Colours {
  readonly bold: Paint
  readonly dim: Paint
  readonly green: Paint
  readonly yellow: Paint
  readonly red: Paint
  readonly cyan: Paint
  readonly magenta: Paint
}

/** Plain text where the stream is no terminal, or NO_COLOR is set to anything (no-color.org). */
export function colours(stream: NodeJS.WriteStream): Colours {
  const { NO_COLOR = '' } = process.env
  const on = stream.isTTY === true && NO_COLOR === '' && stream.hasColors()
  const paint = (style: keyof Colours): Paint => (on ? (text) => styleText(style, text, { validateStream: false }) : (text) => text)
  return {
    bold: paint('bold'),
    dim: paint('dim'),
    green: paint('green'),
    yellow: paint('yellow'),
    red: paint('red'),
    cyan: paint('cyan'),
    magenta: paint('magenta'),
  }
}

/** One end of a path or pair. */
export interface End {
  readonly type: string
  /** With its port. */
  readonly address: string
}

export function endText({ type, address }: End): string {
  return `${type} ${address}`
}

/** The ends of a path, and its kind, in the words of `connect --json`. */
export interface PathText {
  readonly kind: Path['kind']
  readonly local: Path['local']['type']
  readonly remote: Path['remote']['type']
  readonly localAddress: string
  readonly remoteAddress: string
  /** Milliseconds. */
  readonly rtt: number
}

export function pathText({ kind, local, remote, rtt }: Path): PathText {
  return {
    kind,
    local: local.type,
    remote: remote.type,
    localAddress: hostPort(local.ip, local.port),
    remoteAddress: hostPort(remote.ip, remote.port),
    rtt: tidy(rtt),
  }
}

export function hostPort(ip: string, port: number): string {
  return ip.includes(':') ? `[${ip}]:${port}` : `${ip}:${port}`
}

/** From a `candidate:` line of our own. */
export function candidateEnd(line: string): End {
  const { type, address } = parseCandidate(line)
  return { type, address: address.key }
}

/** Milliseconds with as many digits as they deserve. */
export function milliseconds(value: number): string {
  return value.toFixed(1)
}

/** For JSON: a microsecond is as fine as it gets. */
export function tidy(value: number): number {
  return Math.round(value * 1_000) / 1_000
}

export function plural(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`
}
