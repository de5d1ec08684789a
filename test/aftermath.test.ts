// What follows a decision, when what it has to be held against cannot be had.

import { expect, test } from 'vitest'
import type { ExperimentRow, Move, Rule } from '../replay/experiment.ts'
import { planPolicy, register } from '../replay/registration.ts'
import type { Decision } from '../schemas/experiment.ts'
import { type AftermathDeps, openAftermath } from '../src/experiments/aftermath.ts'

const registered = register({
  ...{ registryId: 'desk', baseline: 'v2', candidate: 'v3', reference: 'v1' },
  frame: { query: 'Finished runs.', units: 6, seed: 'seed' },
  ...{ judges: [], judge: 'deterministic_replay', judgeModels: [], expectations: {} },
  ...{ arms: [], settings: {}, budgetUsd: 1 },
  policy: planPolicy(6),
} as unknown as Parameters<typeof register>[0]) // no more of it is read here

test('a pass that cannot be held against the mark is held, and its version is called passed, not on its way', async () => {
  const statuses: string[] = []
  const moves: Move[] = []
  const rule = { mode: 'observe', autoPromote: 'threshold', pairsMax: 100, sampleDays: 1 } as Rule // the part that is asked for
  const aftermath = openAftermath({
    registry: {
      setStatus: async ({ status }: { status: string }) => void statuses.push(status),
    },
    store: {
      move: async (_: ExperimentRow, to: Move) => {
        moves.push(to)
        return true
      },
    },
    rules: { of: async () => rule },
    // Everything that was said to the version before is deleted by now.
    live: { frames: { runs: async () => [], open: async () => async () => [] }, nowMs: () => 0 },
  } as unknown as AftermathDeps) // as above
  await aftermath.afterDecision({
    ...{ experimentId: 'pexp_1', workspace: 'w', registryId: 'desk', reason: 'All held.' },
    ...{ baseline: 'v2', candidate: 'v3', status: 'passed', promotionStatus: 'pending' },
    ...{ registered, decision: { status: 'passed', evidence: 'threshold' } as Decision, asked: {} },
  } as ExperimentRow) // as above
  expect(statuses.at(-1)).toBe('passed')
  expect(moves).toMatchObject([{ promotionStatus: 'held' }])
  expect(moves[0]?.reason).toContain('Only 0 conversations can be replayed with desk@v1')
})
