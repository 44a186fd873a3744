/** What a peer or a server wrote, for a terminal. */

/** Control characters, terminal escapes among them, made visible. */
export function printable(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}]/gu, (character) => (character === '\t' ? ' ' : '\u{fffd}'))
}
