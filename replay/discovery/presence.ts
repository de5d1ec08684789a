// Always there, from one moment to another: what tells an edit of the prompt from a conditional line or a popular document.

import {
  blockSize,
  fullBlocksMin,
  fullBlocksOfWordMin,
  fullShareMin,
  fullShareOfWordMin,
  sparseShareMax,
} from './limits.ts'
import type { Presence } from './state.ts'

/** One more sighting. `born` is when its life began if it begins now. */
export function touch(presence: Presence, clock: number, born: number): void {
  const block = Math.floor(clock / blockSize)
  if (presence.block !== block) {
    // Hardly there before: what counts from here is a new life, and the old one was a coincidence.
    const isNew = presence.block < block - 1 || presence.inBlock < blockSize * sparseShareMax
    if (isNew && !presence.fixed) begin(presence, clock, born)
    presence.block = block
    presence.inBlock = 0
  }
  presence.inBlock++
  if (presence.inBlock === blockSize) presence.full++
  presence.count++
  presence.last = clock
}

function begin(presence: Presence, clock: number, born: number): void {
  presence.first = clock
  presence.born = born
  presence.full = 0
}

/** Of the whole blocks between its first and last sighting, enough were without a gap. */
export function isSteady(
  presence: Presence,
  min = { blocks: fullBlocksMin, share: fullShareMin },
): boolean {
  // A part that was taken for fixed and was not has to show twice as much, each time.
  if (presence.full < min.blocks * 2 ** presence.demoted) return false
  const begin = Math.ceil(presence.first / blockSize)
  const end = Math.floor((presence.last + 1) / blockSize)
  return presence.full >= min.share * (end - begin)
}

export const asWord = { blocks: fullBlocksOfWordMin, share: fullShareOfWordMin }

/** Not fixed after all. What it was is forgotten, how often this happened is not. */
export function demote(presence: Presence): void {
  presence.fixed = false
  presence.fixedAt = -1
  presence.demoted = Math.min(presence.demoted + 1, 4)
  presence.count = 0
  presence.full = 0
  presence.inBlock = 0
  presence.block = -1
}

/** The words of a line that was always the same until now have been there as long as it was. */
export function inherit(clock: number, line: Presence): Presence {
  return {
    count: clock,
    first: 0,
    last: clock - 1,
    born: line.born,
    fixedAt: line.fixedAt,
    full: Math.floor(clock / blockSize),
    block: Math.floor((clock - 1) / blockSize),
    inBlock: ((clock - 1) % blockSize) + 1,
    fixed: line.fixed,
    demoted: 0,
  }
}

export function fix(presence: Presence, clock: number): void {
  presence.fixed = true
  presence.fixedAt = clock
}
