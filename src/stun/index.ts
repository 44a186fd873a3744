export { IntegrityKey, type PasswordAlgorithm } from './integrity-key.ts'
export { type Check, looksLikeStun, Message, type MessageClass } from './message.ts'
export { Attribute, Method, StunError } from './registry.ts'
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
