// The lengths of Native blocks.

/** LEB128 of a number below 2^53 at `at`; the position after it. */
export function writeVarint(bytes: Buffer, at: number, value: number): number {
  let rest = value
  let position = at
  while (rest >= 0x80) {
    bytes[position++] = (rest % 0x80) | 0x80
    rest = Math.floor(rest / 0x80)
  }
  bytes[position++] = rest
  return position
}
