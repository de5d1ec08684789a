// One arm over a ledger in memory: tools answer as recorded, in order, by name and value; nothing else is ever called.

import { expect, test } from 'vitest'
import { runArm } from '../replay/arm.ts'
import type { CallDeps } from '../replay/calls.ts'
import type { CallAnswer, RecordedResult, ReplayMessage } from '../schemas/replay.ts'

type Turn = { text: string } | { tool: string; args: string }

/** A model that says these things one after the other, and keeps what it was asked. */
function model(turns: Turn[]) {
  const asked: ReplayMessage[][] = []
  const deps: CallDeps = {
    ...{
      experimentId: 'pexp_1',
      workspace: 'w',
      priceOf: () => 5,
      signal: new AbortController().signal,
    },
    ledger: {
      claim: async () => ({ kind: 'mine' }),
      renew: async () => {},
      settle: async () => {},
    },
    loopback: {
      async chat({ request }): Promise<CallAnswer> {
        asked.push(request.messages)
        const turn = turns[asked.length - 1] ?? { text: 'end' }
        const call = 'tool' in turn ? { name: turn.tool, arguments: turn.args } : undefined
        return {
          kind: 'answered',
          output: {
            text: 'text' in turn ? turn.text : '',
            toolCalls: call ? [call] : [],
            finishReason: 'stop',
          },
          message: call
            ? {
                role: 'assistant',
                content: null,
                tool_calls: [{ id: 'c1', type: 'function', function: call }],
              }
            : { role: 'assistant', content: 'text' },
          latencyMs: 10,
          usage: {
            inputTokens: 1,
            cachedTokens: 0,
            outputTokens: 1,
            reasoningTokens: 0,
            estimated: false,
          },
          modelServed: 'm',
          runId: null,
        }
      },
      embed: async () => ({ vectors: [], usage: null }),
      close() {},
    },
  }
  return { deps, asked }
}

const results: RecordedResult[] = [
  { name: 'find', arguments: '{"order":7,"full":true}', content: 'sent' },
  { name: 'find', arguments: '{"order":7,"full":true}', content: 'delivered' },
]
const task = (recorded: RecordedResult[]) => ({
  ...{ unit: 0, arm: 'candidate' as const, results: recorded, routeId: '', reserveNanoUsd: 1 },
  request: { model: 'm', messages: [{ role: 'user', content: 'Where is it?' }], parameters: {} },
})
const find = { tool: 'find', args: '{ "full": true, "order": 7 }' }

test('a tool asked again with the same values gives its next recorded answer, however they are spelled', async () => {
  const { deps, asked } = model([find, find, { text: 'It is there.' }])
  const run = await runArm(deps, task(results))
  expect(run).toMatchObject({
    kind: 'answered',
    hasDiverged: false,
    latencyMs: 30,
    costNanoUsd: 15,
  })
  expect(asked[2]?.filter(({ role }) => role === 'tool').map(({ content }) => content)).toEqual([
    'sent',
    'delivered',
  ])
})

test('a tool asked something that production never asked ends the loop, and its call is in the output', async () => {
  const { deps, asked } = model([find, { tool: 'refund', args: '{"order":7}' }])
  const run = await runArm(deps, task(results))
  expect(run).toMatchObject({ hasDiverged: true })
  expect(run.kind === 'answered' && run.output.toolCalls.map(({ name }) => name)).toEqual([
    'find',
    'refund',
  ])
  expect(asked).toHaveLength(2)
})

test('without recorded results a tool call is the answer', async () => {
  const { deps, asked } = model([find])
  expect(await runArm(deps, task([]))).toMatchObject({ hasDiverged: false })
  expect(asked).toHaveLength(1)
})

test('a model that never stops calling tools is stopped', async () => {
  const endless = Array.from({ length: 50 }, () => find)
  const { deps, asked } = model(endless)
  const run = await runArm(deps, task(endless.map(() => results[0]!)))
  expect(run).toMatchObject({ hasDiverged: true })
  expect(asked.length).toBeLessThanOrEqual(12)
})
