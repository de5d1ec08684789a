// Chance that repeats: the same seed gives the same day.

export type Random = () => number

/** Numbers in [0, 1) that repeat for a seed (mulberry32, public domain). */
export function randomOf(seed: number): Random {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

// Most calls take under a second; one in fifty takes ten times as long.
export function latencyOf(random: Random): number {
  const usual = 250 + random() * 700
  return Math.round(random() < 0.02 ? usual * 10 : usual)
}

export function pick<T>(random: Random, list: readonly T[]): T {
  return list[Math.floor(random() * list.length)] as T // the lists above are not empty
}

export function hex(random: Random, bytes: number): string {
  return Array.from({ length: bytes }, () =>
    Math.floor(random() * 255 + 1)
      .toString(16)
      .padStart(2, '0'),
  ).join('')
}
