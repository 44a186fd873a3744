export { type AdoptedSocket, adoptSocket } from './adopted-socket.ts'
export { nodeNetwork } from './network.ts'
