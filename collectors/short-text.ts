// Names and ids are short and ASCII: written in place they cost a third of a call into Node's encoder.

/** Up to this many characters the loop is faster than the encoder; their count also fits one byte of a varint. */
export const shortCharsMax = 48

/** Writes an ASCII text at `at`, for which there is room; false when it is not ASCII, then nothing written counts. */
export function writeAscii(bytes: Uint8Array, at: number, text: string): boolean {
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i)
    if (code > 0x7f) return false
    bytes[at + i] = code
  }
  return true
}
