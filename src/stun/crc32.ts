/** CRC-32 of ITU V.42, reflected polynomial 0xEDB88320 (RFC 8489 14.7), eight bytes a step. For FINGERPRINT and nothing else. */

/** Eight tables of 256 in one row: table k advances a byte by k further bytes of zeros. */
const TABLE = new Int32Array(8 * 256)
for (let n = 0; n < 256; n++) {
  let c = n
  for (let k = 0; k < 8; k++) c = (c & 1) !== 0 ? (c >>> 1) ^ 0xedb88320 : c >>> 1
  TABLE[n] = c
}
for (let n = 256; n < 8 * 256; n++) {
  const c = TABLE[n - 256] as number
  TABLE[n] = (c >>> 8) ^ (TABLE[c & 0xff] as number)
}

/** CRC-32 of the first `end` bytes, as an unsigned number. */
export function crc32(data: Uint8Array, end: number = data.length): number {
  // Seen as rows of plain numbers, which they are within the bounds kept here: the hot loop has no room for checks of undefined.
  const t = TABLE as unknown as number[]
  const d = data as unknown as number[]
  let c = -1
  let i = 0
  for (const whole = end - 7; i < whole; i += 8) {
    c ^= d[i]! | (d[i + 1]! << 8) | (d[i + 2]! << 16) | (d[i + 3]! << 24)
    c =
      t[1792 + (c & 0xff)]! ^
      t[1536 + ((c >>> 8) & 0xff)]! ^
      t[1280 + ((c >>> 16) & 0xff)]! ^
      t[1024 + (c >>> 24)]! ^
      t[768 + d[i + 4]!]! ^
      t[512 + d[i + 5]!]! ^
      t[256 + d[i + 6]!]! ^
      t[d[i + 7]!]!
  }
  for (; i < end; i++) c = (c >>> 8) ^ t[(c ^ d[i]!) & 0xff]!
  return ~c >>> 0
}
