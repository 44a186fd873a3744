export { openPxp, type Pxp, type PxpDrops, type PxpOptions } from './open.ts'
