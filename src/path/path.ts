/** The path that carries data, as the caller sees it: a snapshot of a valid pair. */
import type { CandidateType } from '../candidates/index.ts'
import type { Pair } from '../ice/index.ts'
import type { Address } from '../net/index.ts'

export interface PathEnd {
  readonly type: CandidateType
  /** IP literal. */
  readonly ip: string
  readonly port: number
}

/** Plain and frozen; `session.path` gives a fresh one. */
export interface Path {
  readonly kind: 'direct' | 'relay'
  readonly family: 4 | 6
  /** As the peer sees us. */
  readonly local: PathEnd
  /** As we see the peer. */
  readonly remote: PathEnd
  /** Milliseconds, smoothed, from the checks; 0 on a lite side, which sends none. */
  readonly rtt: number
}

export function pathOf(pair: Pair): Path {
  const local = pair.mapped ?? pair.local
  return Object.freeze({
    kind: pair.kind,
    family: pair.to.family,
    local: end(local.type, local.address),
    remote: end(pair.remote.type, pair.to),
    rtt: pair.rtt ?? 0,
  })
}

function end(type: CandidateType, address: Address): PathEnd {
  return Object.freeze({ type, ip: address.host, port: address.port })
}

export function describePath(path: Path): string {
  const { kind, local, remote, rtt } = path
  return `${kind}: ${local.type} ${endText(local)} to ${remote.type} ${endText(remote)}, ${rtt.toFixed(1)} ms round trip`
}

function endText({ ip, port }: PathEnd): string {
  return ip.includes(':') ? `[${ip}]:${port}` : `${ip}:${port}`
}
