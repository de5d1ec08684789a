// POST /v1/runs: runs that did not pass through the proxy, each judged alone, signed and stored before the answer.

import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { toUnixNano } from '../collectors/run/posted-run.ts'
import { type ProxyWorld, startProxy, workspace } from './proxy-world.ts'

let world: ProxyWorld
beforeAll(async () => {
  world = await startProxy()
})
afterAll(() => world.end())
beforeEach(() => {
  world.intake.refusing = false
  for (const rows of Object.values(world.intake.rows)) rows.length = 0
})

const run = {
  model: 'llama-3',
  started_at: '2026-11-20T10:00:00.123456789Z',
  ended_at: '2026-11-20T11:00:01.5+01:00',
  input: [{ role: 'user', content: 'Wie geht’s?' }],
  output: 'Gut ✓',
}

async function post(body: unknown, headers: Record<string, string> = {}) {
  const response = await fetch(`${world.url}/v1/runs`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: typeof body === 'string' ? body : JSON.stringify(body),
  })
  return { status: response.status, body: await response.json() }
}

test('a run alone is stored as a span, a payload and a final record, and answered with its ids', async () => {
  const { status, body } = await post({
    ...run,
    provider: 'ollama',
    prompt: { id: 'support', version: 2, variables: { name: 'Ann', n: 3 } },
    usage: { input_tokens: 12, output_tokens: 3, cached_tokens: 5 },
    ttft_ms: 12.5,
    session_id: 's',
    user_id: 'u',
    tags: ['a', 'b'],
    metadata: { team: 'x', score: 0.5, __proto__x: { deep: 1 } },
  })
  expect(status).toBe(200)
  expect(body).toMatchObject({ accepted: 1, rejected: [] })
  const [span] = world.intake.rows.spans
  const [record] = world.intake.rows.records
  expect(span).toMatchObject({
    workspace,
    trace_id: body.runs[0].trace_id,
    source: 'native',
    status: 'ok',
    model: 'llama-3',
    provider: 'ollama',
    environment: 'test',
    start_time: toUnixNano(run.started_at),
    duration_ns: 1_376_543_211n,
    ttft_ns: 12_500_000n,
    usage: 1,
    input_tokens: 12,
    cached_tokens: 5,
    prompt_version_id: 'support@v2',
    session_id: 's',
    user_id: 'u',
    input_preview: 'Wie geht’s?',
    output_preview: 'Gut ✓',
  })
  expect(span?.attr_str).toMatchObject({ 'batchin.metadata.team': 'x', 'batchin.tags': 'a,b' })
  expect(span?.attr_num).toMatchObject({ 'batchin.metadata.score': 0.5 })
  expect(record).toMatchObject({ phase: 'final', run_id: span?.run_id, record_id: span?.record_id })
  expect(JSON.parse(String(record?.canonical))).toMatchObject({
    record_id: body.runs[0].record_id,
    run_id: body.runs[0].run_id,
    status: 'completed',
    started_at: '2026-11-20T10:00:00.123Z',
  })
  expect(world.intake.rows.payloads).toHaveLength(1)
})

test('of many runs the bad ones are rejected by index, with every reason named, and the others stored', async () => {
  const { status, body } = await post({
    runs: [
      run,
      { ...run, model: '', output: undefined },
      { ...run, ended_at: '2026-11-20T09:00:00Z' },
      { ...run, started_at: 'yesterday' },
      { model: 'm', started_at: run.started_at, ended_at: run.ended_at },
      7,
      { ...run, status: 'error', error: { code: 'oops', message: 'it broke' } },
    ],
  })
  expect(status).toBe(200)
  expect(body.accepted).toBe(2)
  expect(
    body.rejected.map(({ index, code }: { index: number; code: string }) => [index, code]),
  ).toEqual([1, 2, 3, 4, 5].map((index) => [index, 'invalid_request']))
  const messages = body.rejected.map(({ message }: { message: string }) => message)
  expect(messages[0]).toMatch(/^model: /)
  expect(messages[1]).toBe('ended_at: must not be before started_at')
  expect(messages[2]).toMatch(/^started_at: must be an RFC 3339 time/)
  expect(messages[3]).toBe('input: must be given, or output')
  expect(body.runs.map(({ index }: { index: number }) => index)).toEqual([0, 6])
  expect(world.intake.rows.spans).toMatchObject([
    { status: 'ok' },
    { status: 'error', status_message: 'it broke' },
  ])
})

test.each(['my-run-1', 'run_01K0EXAMPQE000000000000000'])(
  'a run named %s is recognised when it comes again',
  async (name) => {
    const first = await post({ ...run, run_id: name })
    const again = await post({
      runs: [
        { ...run, run_id: name },
        { ...run, run_id: name, output: 'else' },
      ],
    })
    expect(first.body.runs[0].run_id).toMatch(/^run_[0-9A-Z]{26}$/)
    if (name.startsWith('run_')) expect(first.body.runs[0].run_id).toBe(name)
    expect(again.body).toMatchObject({
      accepted: 2,
      runs: [first.body.runs[0], first.body.runs[0]].map((it, index) => ({ ...it, index })),
    })
    expect(world.intake.rows.spans).toHaveLength(1)
    expect(world.intake.rows.records).toHaveLength(1)
  },
)

test('a name that stands twice in one request is one run: the first', async () => {
  const { body } = await post({
    runs: [
      { ...run, run_id: 'twin' },
      { ...run, run_id: 'twin', output: 'else' },
    ],
  })
  expect(body).toMatchObject({ accepted: 2, rejected: [] })
  expect(body.runs[0].record_id).toBe(body.runs[1].record_id)
  expect(world.intake.rows.spans).toMatchObject([{ output_preview: 'Gut ✓' }])
})

test('the ids of a named run are the same in every process, and nobody can tell its record from them', async () => {
  const other = await startProxy()
  const { body } = await post({ ...run, run_id: 'shared' })
  const there = await fetch(`${other.url}/v1/runs`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ ...run, run_id: 'shared' }),
  })
  expect((await there.json()).runs).toEqual(body.runs)
  expect(other.intake.rows.spans[0]?.span_id).toBe(world.intake.rows.spans[0]?.span_id)
  await other.end()
})

test('given trace and span ids are kept', async () => {
  const ids = {
    trace_id: '0AF7651916CD43DD8448EB211C80319C',
    span_id: 'b7ad6b7169203331',
    parent_span_id: '00f067aa0ba902b7',
  }
  await post({ ...run, ...ids })
  expect(world.intake.rows.spans).toMatchObject([
    {
      trace_id: ids.trace_id.toLowerCase(),
      span_id: ids.span_id,
      parent_span_id: ids.parent_span_id,
    },
  ])
})

test('a run may have only an input, or only an output', async () => {
  const { input, output, ...rest } = run
  expect(
    (
      await post({
        runs: [
          { ...rest, input },
          { ...rest, output },
        ],
      })
    ).body.accepted,
  ).toBe(2)
  const payloads = world.intake.rows.records.map(({ canonical }) => JSON.parse(String(canonical)))
  expect(payloads.map((it) => [it.input_hash === null, it.output_hash === null])).toEqual([
    [false, true],
    [true, false],
  ])
})

test.each([
  ['not JSON', '{', 400],
  ['a list', [], 400],
  ['runs that are no list', { runs: {} }, 400],
  ['a thousand and one runs', { runs: Array.from({ length: 1001 }, () => 1) }, 400],
])('%s is refused whole', async (_what, body, status) => {
  const answer = await post(body)
  expect([answer.status, answer.body.error.code]).toEqual([status, 'invalid_request'])
})

test('another media type is refused', async () => {
  const answer = await post(run, { 'content-type': 'text/plain' })
  expect([answer.status, answer.body.error.code]).toEqual([415, 'unsupported_media_type'])
})

test('a spool that takes nothing is 503, and the run is not taken for stored', async () => {
  world.intake.refusing = true
  expect((await post({ ...run, run_id: 'later' })).status).toBe(503)
  world.intake.refusing = false
  expect((await post({ ...run, run_id: 'later' })).body.accepted).toBe(1)
  expect(world.intake.rows.spans).toHaveLength(1)
})

test('times keep all of their digits', () => {
  expect(toUnixNano('1970-01-01T00:00:00.000000001Z')).toBe(1n)
  expect(toUnixNano('2026-11-20T10:00:00.5+02:00')).toBe(toUnixNano('2026-11-20T08:00:00.500Z'))
})
