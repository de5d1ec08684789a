// The skeleton of a request: the fixed parts it has, as one number to compare and as a list to measure by.

import type { Entry, Family } from './state.ts'
import { hashText, mix } from './text.ts'

/**
 * The skeleton of a request as one number: its fixed lines, and of lines that change, their fixed words. Lines that never
 * change count in their order; the others may trade places, as examples do that are drawn anew for each request.
 */
export function shapeOf(family: Family, entry: Entry): number {
  if (entry.label !== undefined) return hashText(`@${entry.label}`)
  return skeletonOf(family, entry)
}

/** The same without regard to what the caller called it. */
export function skeletonOf(family: Family, entry: Entry): number {
  let ordered = mix(7, entry.around)
  let loose = 0
  for (let i = 0; i < entry.lines.length; i++) {
    const group = family.groups.get(entry.groups[i]!)
    if (!group?.presence.fixed) continue
    if (!group.words) {
      ordered = mix(ordered, group.id)
      continue
    }
    let key = mix(11, group.id)
    for (const word of entry.lines[i]!.tokens) {
      if (group.words.get(word)?.fixed) key = mix(key, word)
    }
    // Both are below 2^52, so the sum is exact and the order does not matter.
    loose = (loose + key) % 2 ** 52
  }
  return mix(ordered, loose)
}

/** Whether a request has a fixed part that was first seen after the given time of the family's clock. */
export function hasPartSince(family: Family, entry: Entry, clock: number): boolean {
  return entry.lines.some((line, i) => {
    const group = family.groups.get(entry.groups[i]!)
    if (!group?.presence.fixed) return false
    if (group.presence.born > clock) return true
    return line.tokens.some((word) => {
      const presence = group.words?.get(word)
      return presence?.fixed && presence.born > clock
    })
  })
}

/** Whether a request is without a part of the other that an edit took away from a share of the traffic. */
export function lacksSplit(family: Family, entry: Entry, other: Entry): boolean {
  const own = new Set(fixedPartsOf(family, entry))
  return other.groups.some((id, i) => {
    const group = family.groups.get(id)
    if (!group?.presence.fixed) return false
    if (!own.has(id)) return group.presence.split === true
    return other.lines[i]!.tokens.some(
      (word) => group.words?.get(word)?.split && !own.has(mix(id, word)),
    )
  })
}

/** The fixed parts of a request, each as a number: a line by its group, a word by group and word. */
export function fixedPartsOf(family: Family, entry: Entry, into: number[] = []): number[] {
  for (let i = 0; i < entry.lines.length; i++) {
    const group = family.groups.get(entry.groups[i]!)
    if (!group) continue
    if (!group.presence.fixed) continue
    into.push(group.id)
    if (!group.words) continue
    for (const word of entry.lines[i]!.tokens)
      if (group.words.get(word)?.fixed) into.push(mix(group.id, word))
  }
  return into
}
