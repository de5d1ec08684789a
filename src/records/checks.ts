// The checks of a pack as the issuer makes them, remembered: four signatures in two engines cost milliseconds, and anyone may ask.

import { createHash } from 'node:crypto'
import type { Evidence } from '../../schemas/evidence.ts'
import { type Check, verifyEvidence } from '../../schemas/verify.ts'

// A remembered answer is about two kilobytes.
const rememberedMax = 1_000

export type Checks = (evidence: Evidence, canonical: Uint8Array) => Promise<Check[]>

/** What a pack is checked for follows from the pack alone, so its hash is the key, and no answer ever gets old. */
export function openChecks(root: string): Checks {
  const remembered = new Map<string, Promise<Check[]>>()
  return (evidence, canonical) => {
    const key = createHash('sha256')
      .update(JSON.stringify(evidence))
      .update(canonical)
      .digest('hex')
    const known = remembered.get(key)
    if (known) return known
    const made = verifyEvidence(evidence, { roots: [root], canonical })
    remembered.set(key, made)
    void made.catch(() => remembered.delete(key))
    if (remembered.size > rememberedMax) remembered.delete(remembered.keys().next().value!)
    return made
  }
}
