export { BindingResponder, OTHER_IP, OTHER_PORT, type Reply, type StunServerCounters } from './binding-responder.ts'
export { IntegrityKey, type PasswordAlgorithm } from './integrity-key.ts'
export { type Listening, openGroup, portOption, readListening } from './listening.ts'
export { type Attempt, LongTermCredential, type Reaction } from './long-term-client.ts'
export { type Claim, LongTermVerifier, type LongTermVerifierOptions, proves, type Rejection, type Verdict } from './long-term-server.ts'
export { type Check, looksLikeStun, Message, type MessageClass } from './message.ts'
export { Attribute, MAGIC_COOKIE, Method, StunError } from './registry.ts'
export {
  decodePasswordAlgorithms,
  encodePasswordAlgorithms,
  nonceCookie,
  nonceFeatures,
  type SecurityFeatures,
  userhash,
} from './security-features.ts'
export { createStunServer, type StunServer, type StunServerOptions } from './server.ts'
export { transactionKey } from './transaction-id.ts'
export {
  type Outcome,
  type RetransmissionSchedule,
  RFC_SCHEDULE,
  STREAM_SCHEDULE,
  type Transaction,
  type TransactionRequest,
  Transactions,
} from './transactions.ts'
export { formatServerUri, parseServerUri, type ServerScheme, type ServerUri } from './uri.ts'
export { MessageWriter } from './writer.ts'
