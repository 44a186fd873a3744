/** What to make of a Binding request that names us (RFC 8445 7.3): authenticated first, judged next, and nothing changed yet. */
import type { IntegrityKey, Message } from '../stun/index.ts'
import { Attribute } from '../stun/index.ts'
import { type CheckContent, KNOWN_IN_CHECKS, readCheck, splitUsername } from './check-message.ts'
import { decideRole } from './role.ts'

export interface ErrorAnswer {
  readonly code: number
  readonly reason: string
  readonly unknown?: readonly number[]
}

export type Judgement =
  /** Did not prove itself. */
  | { readonly kind: 'stranger' }
  /** Authentic, and not for now. */
  | { readonly kind: 'ignore' }
  | { readonly kind: 'refuse'; readonly error: ErrorAnswer }
  | { readonly kind: 'check'; readonly sender: string; readonly content: CheckContent; readonly switchRole: boolean }

export interface Self {
  readonly key: IntegrityKey
  readonly controlling: boolean
  /** Undefined for a lite agent, which does not argue about roles. */
  readonly tieBreaker: bigint | undefined
  /** The peer's user fragment, once it is known. */
  readonly peer: string | undefined
}

export function judgeCheck(message: Message, self: Self): Judgement {
  const sender = splitUsername(message.text(Attribute.Username))?.sender
  if (sender === undefined || message.integrity(self.key) !== 'valid') return { kind: 'stranger' }
  const unknown = message.unknownRequired(KNOWN_IN_CHECKS)
  if (unknown.length > 0) return { kind: 'refuse', error: { code: 420, reason: 'Unknown Attribute', unknown } }
  const content = readCheck(message)
  if (content === undefined) return { kind: 'refuse', error: { code: 400, reason: 'Bad Request' } }
  // Of a generation that we have not heard of by signal; it will check again once it has heard of ours.
  if (self.peer !== undefined && sender !== self.peer) return { kind: 'ignore' }
  // A lite agent keeps its role whatever comes (RFC 8445 6.1.1, 7.3.2).
  let role = self.tieBreaker === undefined ? 'agree' : decideRole(self.controlling, self.tieBreaker, content)
  // Before its signal our role is a guess, and the check tells which one the peer takes: no conflict to have it out over (RFC 8445 6.1.1).
  if (role === 'refuse' && self.peer === undefined) role = 'switch'
  if (role === 'refuse') return { kind: 'refuse', error: { code: 487, reason: 'Role Conflict' } }
  const controlling = self.controlling !== (role === 'switch')
  if (content.useCandidate && controlling) return { kind: 'refuse', error: { code: 400, reason: 'Bad Request' } }
  return { kind: 'check', sender, content, switchRole: role === 'switch' }
}
