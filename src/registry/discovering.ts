// Discovery as the plane has it: one process of all leads (leading.ts), and the calls of the others are met in the stores.

import type { PromptSights } from '../../schemas/prompt.ts'
import { repeatEvery } from '../repeat.ts'
import { beginLead, type Lead, type LeadDeps } from './leading.ts'
import { openSights } from './sights.ts'

// Any number, ours alone: "discover" in ASCII, cut to what a bigint holds.
export const leaderLock = 1_684_632_419
const leadEveryMs = 2_000

export type Discovering = PromptSights & {
  /** True while this process looks at calls: one of all does. */
  leads(): boolean
  /** Calls that the thread has not answered yet. */
  waiting(): number
  /** How far the stored calls are followed behind; 0 where another process leads. */
  lagMs(): number
  /** Resolves once everything that was seen so far has been looked at and written. */
  settled(): Promise<void>
  /** Writes down what is known, and stops. */
  close(): Promise<void>
}

/** Does not wait until it leads: calls that come before are met in the stores. */
export function openDiscovering(deps: LeadDeps): Discovering {
  const { postgres, counters, log } = deps
  const sights = openSights(counters)
  let lead: Lead | undefined
  let isClosing = false

  const led = repeatEvery(
    leadEveryMs,
    async () => {
      if (lead?.isOver()) {
        await lead.stop()
        lead = undefined
      }
      if (lead || isClosing) return
      const lock = await postgres.tryLock(leaderLock)
      if (!lock) return
      lead = await beginLead(deps, sights, lock).catch(async (error) => {
        // Kept by one that does not lead, nobody would any more.
        await lock.release()
        throw error
      })
    },
    (error) => log(`discovery, trying again: ${String(error)}`),
  )
  void led.now()

  return {
    see: sights.see,
    leads: () => lead?.isOver() === false,
    waiting: sights.waiting,
    lagMs: () => lead?.lagMs() ?? 0,
    async settled() {
      await led.now()
      await lead?.settled()
    },
    async close() {
      isClosing = true
      await led.stop()
      await lead?.close()
    },
  }
}
