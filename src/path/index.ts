export {
  type AttemptReport,
  type Explanation,
  explain,
  type LogEntry,
  obstacle,
  type PairReport,
  reportAttempt,
  reportPairs,
} from './explain.ts'
export { SessionLog } from './log.ts'
export { describePath, type Path, type PathEnd, pathOf } from './path.ts'
export { printable } from './printable.ts'
