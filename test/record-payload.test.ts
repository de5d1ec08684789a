// The text that a signature covers: written out by hand, so that for any facts it must be what RFC 8785 makes of its own value.

import fc from 'fast-check'
import { expect, test } from 'vitest'
import { newId } from '../schemas/ids.ts'
import { toJcs } from '../schemas/jcs.ts'
import { type RecordFacts, recordStatuses } from '../schemas/record.ts'
import { lendBegin, lendFinal } from '../schemas/record-payload.ts'

const names = fc.string({ unit: 'binary', maxLength: 300 })
const counts = fc.oneof(fc.nat(), fc.double({ noNaN: true }), fc.constant(2 ** 32))
const commitments = fc.record({
  hash: fc.option(fc.constant(`sha256:${'0a'.repeat(32)}`)),
  form: fc.constantFrom('jcs', 'es-json'),
})
const usage = fc.record({
  inputTokens: counts,
  cachedTokens: counts,
  outputTokens: counts,
  reasoningTokens: counts,
  estimated: fc.boolean(),
})
const facts: fc.Arbitrary<RecordFacts> = fc.record({
  recordId: fc.constant(newId(1)),
  runId: fc.constantFrom(newId(2), newId(2).fill(0)),
  workspace: fc.constant('w'),
  traceId: fc.constantFrom('', '4bf92f3577b34da6a3ce929d0e0e4736'),
  routeId: names,
  routeLabel: names,
  routePublic: fc.boolean(),
  provider: fc.oneof(
    names,
    fc.constantFrom('sandbox', 'openai', 'mistral', 'constructor', '__proto__'),
  ),
  gpuId: names,
  environment: names,
  promptVersionId: names,
  modelId: fc.oneof(names, fc.constantFrom('gpt-4o', 'qwen3-30b-a3b', 'a-9999b')),
  status: fc.constantFrom(...recordStatuses),
  startedAt: fc.date({ noInvalidDate: true, min: new Date(0), max: new Date(4e12) }),
  completedAt: fc.constant(undefined),
  input: fc.constant(undefined),
  output: fc.constant(undefined),
  usage: fc.option(usage, { nil: undefined }),
  upstream: fc.record({
    responseId: fc.option(names),
    systemFingerprint: fc.option(names),
    requestId: fc.option(names),
  }),
})
const more = fc.record({
  keyId: fc.constant('k1'),
  input: commitments,
  output: commitments,
  beginSha256: fc.option(fc.constant('0b'.repeat(32))),
  tier: fc.constantFrom(undefined, 'nano', 'high'),
})

test('for any facts the text of either phase is the canonical text of its own value, and shows a private route by its label alone', () => {
  fc.assert(
    fc.property(facts, more, fc.boolean(), fc.option(fc.nat()), (all, rest, hasGpu, ms) => {
      const { gpuId, ...withoutGpu } = all
      const given: RecordFacts = hasGpu ? { ...withoutGpu, gpuId: gpuId ?? '' } : withoutGpu
      if (ms !== null) given.completedAt = new Date(given.startedAt.getTime() + ms)
      const text = textOf(lendFinal(given, rest))
      const payload = JSON.parse(text)
      expect(toJcs(payload)).toBe(text)
      expect('gpu_id' in payload).toBe(hasGpu)
      expect(payload.input_form).toBe(rest.input.form === 'jcs' ? undefined : rest.input.form)
      for (const name of ['provider', 'route_id', 'upstream'])
        expect(name in payload).toBe(given.routePublic)
      const begin = textOf(lendBegin(given, rest))
      expect(toJcs(JSON.parse(begin))).toBe(begin)
    }),
    { seed: 8785, numRuns: 300 },
  )
})

function textOf(lent: Uint8Array): string {
  return new TextDecoder().decode(lent)
}
