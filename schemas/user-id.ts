// The name of whoever is behind a call, as every collector stores it and as a deletion asks for it: the same text, or no match.

/** Longer ones are cut here. */
export const userIdCharsMax = 1_000

/** All of it, whatever it holds, but for NUL, which Postgres takes in no text. */
export function toUserId(text: string): string {
  return text.slice(0, userIdCharsMax).replaceAll('\0', '\ufffd')
}
