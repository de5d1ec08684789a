// The money that is set aside before a replay's call: never nothing for a model that has a price.

import { expect, test } from 'vitest'
import { type CallDeps, costOf } from '../replay/calls.ts'
import type { JudgeMore } from '../replay/judges/asked.ts'
import { replayUnit } from '../replay/unit.ts'
import type { CallAnswer, DrawnUnit } from '../schemas/replay.ts'

const failed = (status: number | null): CallAnswer => ({ kind: 'failed', status, message: 'no' })

/** What each arm of a conversation set aside, by its prompt's length. */
async function reservesOf(recordedCostNanoUsd: number | null): Promise<Record<string, number>> {
  const reserves: Record<string, number> = {}
  const deps: CallDeps = {
    ...{ experimentId: 'pexp_1', workspace: 'w', signal: new AbortController().signal },
    priceOf: (_, { inputTokens, outputTokens }) => inputTokens * 10 + outputTokens * 20,
    ledger: {
      async claim({ arm }, { reserveNanoUsd }) {
        reserves[arm] = reserveNanoUsd
        const answer: CallAnswer = {
          kind: 'answered',
          output: { text: 'Yes.', toolCalls: [], finishReason: 'stop' },
          message: { role: 'assistant', content: 'Yes.' },
          ...{ latencyMs: 1, usage: null, modelServed: null, runId: null },
        }
        return { kind: 'known', answer }
      },
      renew: async () => {},
      settle: async () => {},
    },
    loopback: {
      chat: async () => failed(500),
      embed: async () => ({ vectors: [], usage: null }),
      close() {},
    },
  }
  const arm = (content: string) => ({
    model: 'm',
    messages: [{ role: 'system', content }],
    parameters: { max_tokens: 100 },
  })
  const drawn: DrawnUnit = {
    unit: 0,
    source: {
      ...{
        traceId: '',
        spanId: '',
        conversation: 'c',
        inputHash: 'h',
        multiplicity: 1,
        stratum: 's',
      },
      ...{
        tier: 'R1',
        routeId: '',
        recordedOutput: null,
        recordedLatencyMs: 1,
        recordedCostNanoUsd,
      },
    },
    request: { baseline: arm('x'.repeat(300)), candidate: arm('x'.repeat(3_000)), results: [] },
  }
  const rest = { seed: 's', judge: 'deterministic_replay', judges: [], expectations: {} }
  const judgeMore: JudgeMore = {
    similarityOf: async () => undefined,
    ask: async (_, { verdict }) => verdict,
  }
  await replayUnit({ ...deps, ...rest, judgeMore }, drawn)
  return reserves
}

test('a run whose cost was not recorded sets aside what its request may cost', async () => {
  const { baseline = 0, candidate = 0 } = await reservesOf(null)
  expect(baseline).toBeGreaterThan(100 * 20)
  expect(candidate).toBeGreaterThan(baseline + 8_000)
})

test('a longer prompt sets aside more than the recorded run cost', async () => {
  const { baseline = 0, candidate = 0 } = await reservesOf(10_000)
  expect(baseline).toBe(20_000)
  expect(candidate).toBeGreaterThan(5 * baseline)
})

test('a call that broke off, or answered in another form, keeps what was set aside for it', () => {
  const asked = { request: { model: 'm', messages: [], parameters: {} }, routeId: '' }
  const cost = (status: number | null) => costOf({ priceOf: () => 7 }, asked, failed(status))
  expect([cost(null), cost(200), cost(429), cost(502)]).toEqual([null, null, 0, 0])
})
