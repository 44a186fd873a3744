export { type Reception, type SignalContent, SignalExchange } from './exchange.ts'
export { candidateLines, type ReadSignal, readSignal, type Signal, tieText } from './signal.ts'
