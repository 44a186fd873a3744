/** Transaction ids as map keys. */

const HEX: readonly string[] = Array.from({ length: 256 }, (_, n) => n.toString(16).padStart(2, '0'))

/** The 12 bytes of a transaction id as 24 hex digits. */
export function transactionKey(id: Uint8Array): string {
  return keyAt(id, 0)
}

/** The same for an id that begins at `at`. */
export function keyAt(data: Uint8Array, at: number): string {
  let key = ''
  for (let i = at; i < at + 12; i++) key += HEX[data[i] as number]
  return key
}
