export { type AdoptedSocket, adoptSocket } from './adopted-socket.ts'
export { nodeNetwork } from './network.ts'
export { canReusePort } from './reuse-port.ts'
export { onTermination } from './termination.ts'
