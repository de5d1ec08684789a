// Redaction: what matches is in nothing that is written of a run, and what was sent stays as it was.

import fc from 'fast-check'
import { expect, test } from 'vitest'
import { redactionBy } from '../collectors/redact.ts'
import type { RedactRule } from '../schemas/config.ts'
import { newId } from '../schemas/ids.ts'
import type { Run } from '../schemas/run.ts'

const secret = /SECRET-\d+/u
const rules: RedactRule[] = [
  { pattern: 'SECRET-\\d+', replacement: '[$&]' },
  { attribute: 'user.id' },
  { attribute: 'left.out' },
]

/** Any JSON with secrets in its texts and names. */
const json = fc.jsonValue({ depthSize: 'small' }).map((value) => salted(value))

function salted(value: unknown): unknown {
  if (typeof value === 'string') return `${value}SECRET-${value.length}!`
  if (Array.isArray(value)) return value.map(salted)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(
    Object.entries(value).map(([name, item]) => [`${name}SECRET-1`, salted(item)]),
  )
}

function runOf(input: unknown, output: unknown): Run {
  return {
    runId: newId(),
    recordId: newId(),
    workspace: 'w',
    traceId: 'a'.repeat(32),
    spanId: 'b'.repeat(16),
    name: 'chat of SECRET-6',
    service: 'desk of SECRET-6',
    operation: 'chat',
    modelRequested: 'm',
    traceState: 'a=1,b=SECRET-5',
    finishReasons: ['stop at SECRET-3'],
    upstream: { responseId: 'r-SECRET-4', systemFingerprint: null, requestId: 'q-SECRET-4' },
    error: { code: 'x SECRET-8', message: 'it said SECRET-7' },
    sessionId: 'of SECRET-9',
    userId: 'ada',
    input,
    output,
    promptVariables: { who: 'SECRET-1', when: 'now' },
    attributes: { 'left.out': 1, kept: 'a SECRET-2', count: 3 },
  } as unknown as Run // what redaction looks at
}

test('no text of a run holds what a rule names, and the request and answer are as they were', () => {
  const redaction = redactionBy(() => ({ redact: rules }))
  fc.assert(
    fc.property(json, json, (input, output) => {
      const before = JSON.stringify([input, output])
      const run = runOf(input, output)
      redaction.run(run)
      const { runId: _, recordId: __, ...written } = run
      expect(JSON.stringify(written)).not.toMatch(secret)
      expect(JSON.stringify([input, output])).toBe(before)
    }),
  )
})

test('a replacement is text, not a pattern; named attributes are left out; the rest stays', () => {
  const run = runOf('SECRET-1', undefined)
  redactionBy(() => ({ redact: rules })).run(run)
  expect(run).toMatchObject({
    name: 'chat of [$&]',
    service: 'desk of [$&]',
    input: '[$&]',
    userId: '',
    sessionId: 'of [$&]',
    promptVariables: { who: '[$&]', when: 'now' },
    traceState: 'a=1',
    error: { code: 'x [$&]', message: 'it said [$&]' },
    attributes: { kept: 'a [$&]', count: 3 },
  })
  expect(Object.keys(run.attributes)).toEqual(['kept', 'count'])
})

test('the name of a model stays, also in the name of its call; what matches over two members of a state leaves none', () => {
  const named = { operation: 'chat', modelRequested: 'SECRET-1', name: 'chat SECRET-1' }
  const run = { ...runOf('x', 'y'), ...named, traceState: 'a=1,b=2' }
  redactionBy(() => ({ redact: [...rules, { pattern: '1,b', replacement: '' }] })).run(run)
  expect(run).toMatchObject({ ...named, traceState: '' })
})

test('rules are those of the configuration as it is now', () => {
  let redact: RedactRule[] = []
  const redaction = redactionBy(() => ({ redact }))
  expect(redaction.text('x', 'SECRET-1')).toBe('SECRET-1')
  redact = rules
  expect([redaction.text('x', 'SECRET-1'), redaction.text('user.id', 'ada')]).toEqual(['[$&]', ''])
})
