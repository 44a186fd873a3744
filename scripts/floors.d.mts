/** Every breach under `root` (a `src` folder), as `file:line message`. Empty when the floors hold. */
export function checkFloors(root: string): string[]
