// @ts-check
const encoder = new TextEncoder()

/** A dictionary. @param {...string} texts */
export function words(...texts) {
  return texts.map((text) => encoder.encode(text))
}
