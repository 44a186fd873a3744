export {
  type AgentEvent,
  type AgentOptions,
  type AgentOutlet,
  IceAgent,
  newTieBreaker,
  type RemoteDescription,
  type Verdict,
} from './agent.ts'
export { splitUsername } from './check-message.ts'
export { areCredentials, type Credentials, createCredentials } from './credentials.ts'
export type { Pair, PairState } from './pair.ts'
