// Always there, from one moment to another: what tells an edit of the prompt from a conditional line or a popular document.

import { blockSize, fullBlocksMin, fullShareMin } from './limits.ts'
import type { Presence } from './state.ts'

export function touch(presence: Presence, clock: number): void {
  const block = Math.floor(clock / blockSize)
  if (presence.block !== block) {
    presence.block = block
    presence.inBlock = 0
  }
  if (presence.first < 0) presence.first = clock
  presence.inBlock++
  if (presence.inBlock === blockSize) presence.full++
  presence.count++
  presence.last = clock
}

/** Of the whole blocks between its first and last sighting, at least half without a gap, and at least two. */
export function isSteady(presence: Presence): boolean {
  // A part that was taken for fixed and was not has to show four times as much, each time.
  if (presence.full < fullBlocksMin * 4 ** presence.demoted) return false
  const begin = Math.ceil(presence.first / blockSize)
  const end = Math.floor((presence.last + 1) / blockSize)
  return presence.full >= fullShareMin * (end - begin)
}

/** Not fixed after all. What it was is forgotten, how often this happened is not. */
export function demote(presence: Presence): void {
  presence.fixed = false
  presence.demoted = Math.min(presence.demoted + 1, 4)
  presence.first = -1
  presence.count = 0
  presence.full = 0
  presence.inBlock = 0
  presence.block = -1
}

/** The presence of something that has been there since the start of a clock. */
export function sinceStart(clock: number, born: number): Presence {
  return {
    count: clock,
    first: 0,
    last: clock - 1,
    born,
    full: Math.floor(clock / blockSize),
    block: Math.floor((clock - 1) / blockSize),
    inBlock: ((clock - 1) % blockSize) + 1,
    fixed: Math.floor(clock / blockSize) >= fullBlocksMin,
    demoted: 0,
  }
}
