// Which calls need not be shown when they are met in the stores: those that were seen as they passed, until they are met, and
// those that were met lately, because exporters send again what they are not sure of.

import type { Counters } from '../../schemas/counters.ts'

// From when a call passes until it is met: seconds, so this is far more than pass. One that falls out is looked at twice.
const passedMax = 50_000
const metMax = 50_000
const idHexChars = 32

type Met = { runId: string; trace: string; span: string }

export type Passed = {
  /** A call that was seen as it passed, by the id of its run. */
  note(ref: Uint8Array): void
  isKnown(call: Met): boolean
  /** Done with. True the first time, and for a call that had not passed. */
  meet(call: Met): boolean
  /** Ids of the runs that passed and were not met yet, 16 bytes each. */
  bytes(): Buffer
}

export function openPassed(counters: Counters, bytes: Buffer = Buffer.alloc(0)): Passed {
  const hex = bytes.toString('hex')
  const passed = new Set<string>()
  for (let at = 0; at < hex.length; at += idHexChars) passed.add(hex.slice(at, at + idHexChars))
  const met = new Set<string>()

  function add(to: Set<string>, key: string, max: number): boolean {
    const isFull = to.size >= max
    if (isFull) to.delete(to.values().next().value as string) // not empty: it is full
    to.add(key)
    return isFull
  }

  return {
    note(ref) {
      if (add(passed, Buffer.from(ref).toString('hex'), passedMax))
        counters.count('prompt_passed_calls_dropped_total', {})
    },
    isKnown: ({ runId, trace, span }) => passed.has(runId) || met.has(`${trace}${span}`),
    meet({ runId, trace, span }) {
      if (runId !== '' && passed.delete(runId)) return false
      const key = `${trace}${span}`
      const isAgain = met.delete(key)
      add(met, key, metMax)
      return !isAgain
    },
    bytes: () => Buffer.from([...passed].join(''), 'hex'),
  }
}
