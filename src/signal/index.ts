export type { Reception, SignalContent } from './exchange.ts'
export { candidateLines, type ReadSignal, readSignal, type Signal, tieText } from './signal.ts'
export { Signaller, type SignallerOutlet } from './signaller.ts'
