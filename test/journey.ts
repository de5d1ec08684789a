// What a new user does on the first day, through public doors and real clients alone. Run in process and against the product.

import { expect } from 'vitest'
import { randomHex } from '../schemas/ids.ts'
import { exportTrace, get, type Json, openai, type Target } from './clients.ts'

/** The whole first day. Everything it sends is read back and compared. */
export async function firstDay(target: Target): Promise<void> {
  for (const encoding of ['json', 'protobuf'] as const) await otlpComesBack(target, encoding)
  await chatComesBack(target)
  await streamComesBack(target)
  await abandonedStreamComesBack(target)
  await promptsAreListed(target)
}

async function otlpComesBack(target: Target, encoding: 'json' | 'protobuf'): Promise<void> {
  const traceId = await exportTrace(target, encoding)
  const body = await readTrace(target, traceId)
  expect(body).toMatchObject({
    trace_id: traceId,
    customer_trace_id: traceId,
    name: 'POST /orders',
    service: `shop-${encoding}`,
    span_count: 3,
    error_count: 1,
    run_count: 0,
    run_id: null,
    input_tokens: 12,
    output_tokens: 5,
    prompt_version_id: 'support@v1',
  })
  const model = body.spans.find((span: Json) => span.name === 'chat gpt-4o-mini')
  expect(model).toMatchObject({
    type: 'llm',
    model_id: 'gpt-4o-mini',
    prompt_version_id: 'support@v1',
    status: 'ok',
  })
  const span = await get(target, `/v1/traces/${traceId}/spans/${model.span_id}`)
  expect(span.body.events).toMatchObject([{ name: 'retry' }])
  const exported = await get(target, `/v1/otlp/export?trace_id=${traceId}`)
  const spans = exported.body.resourceSpans.flatMap((resource: Json) =>
    resource.scopeSpans.flatMap((scope: Json) => scope.spans),
  )
  expect(spans.map((one: Json) => one.name).sort()).toEqual([
    'POST /orders',
    'SELECT stock',
    'chat gpt-4o-mini',
  ])
}

/** A read waits two seconds for what was accepted before it; a busy machine may need longer. */
async function readTrace(target: Target, traceId: string): Promise<Json> {
  let found: Json
  await expect
    .poll(
      async () => {
        const { status, body } = await get(target, `/v1/traces/${traceId}`)
        found = body
        return status
      },
      { timeout: 20_000 },
    )
    .toBe(200)
  return found
}

async function chatComesBack(target: Target): Promise<void> {
  const traceId = randomHex(16)
  const { data, response } = await openai(target)
    .chat.completions.create(
      { model: 'gpt-4o-mini', messages: [{ role: 'user', content: 'Say hello.' }] },
      {
        headers: {
          traceparent: `00-${traceId}-00f067aa0ba902b7-01`,
          'X-BatchIn-Prompt-Version': 'support@v2',
          'X-BatchIn-Session-Id': 's-1',
        },
      },
    )
    .withResponse()
  expect(data.choices[0]?.message.content).toBeTruthy()
  const headers = receiptOf(response.headers)
  expect(headers.traceparent.slice(3, 35)).toBe(traceId)
  expect(headers.promptVersion).toBe('support@v2')
  const body = await readTrace(target, traceId)
  expect(body).toMatchObject({
    run_id: headers.runId,
    record_id: headers.recordId,
    prompt_version_id: 'support@v2',
    status: 'ok',
    model_id: data.model,
    run_count: 1,
    session_id: 's-1',
    input_tokens: data.usage?.prompt_tokens,
    output_tokens: data.usage?.completion_tokens,
  })
  expect(body.spans[0].parent_span_id).toBe('00f067aa0ba902b7')
  const span = await get(target, `/v1/traces/${traceId}/spans/${body.spans[0].span_id}`)
  expect(JSON.stringify(span.body.input)).toContain('Say hello.')
  expect(JSON.stringify(span.body.output)).toContain(
    JSON.stringify(data.choices[0]?.message.content).slice(1, -1),
  )
  await recordVerifies(target, headers.recordId, 'completed')
  const evidence = await get(target, `/v1/vaas/${headers.recordId}/evidence`)
  expect(evidence.body.signature).toBe(response.headers.get('X-VaaS-Signature'))
}

async function streamComesBack(target: Target): Promise<void> {
  const { data: stream, response } = await openai(target)
    .chat.completions.create({
      model: 'gpt-4o-mini',
      stream: true,
      messages: [{ role: 'user', content: 'Count to five.' }],
    })
    .withResponse()
  let text = ''
  for await (const chunk of stream) text += chunk.choices[0]?.delta.content ?? ''
  expect(text).not.toBe('')
  const headers = receiptOf(response.headers)
  const body = await readTrace(target, headers.traceparent.slice(3, 35))
  expect(body).toMatchObject({ run_id: headers.runId, status: 'ok', prompt_version_id: 'default' })
  expect(body.output_tokens).toBeGreaterThan(0)
  expect(body.ttft_ms).toBeGreaterThan(0)
  await recordVerifies(target, headers.recordId, 'completed')
}

async function abandonedStreamComesBack(target: Target): Promise<void> {
  const { data: stream, response } = await openai(target)
    .chat.completions.create(
      {
        model: 'gpt-4o-mini',
        stream: true,
        messages: [{ role: 'user', content: 'A very long story, please.' }],
      },
      { headers: { 'X-Sandbox': 'pace=200' } },
    )
    .withResponse()
  for await (const _ of stream) break
  stream.controller.abort()
  const headers = receiptOf(response.headers)
  const path = `/v1/traces/${headers.traceparent.slice(3, 35)}`
  await expect
    .poll(async () => (await get(target, path)).body.status, { timeout: 10_000 })
    .toBe('client_closed')
  await recordVerifies(target, headers.recordId, 'client_closed')
}

async function promptsAreListed(target: Target): Promise<void> {
  const { body } = await get(target, '/v1/prompts')
  const support = body.items.find((item: Json) => item.registry_id === 'support')
  expect(support).toMatchObject({
    source: 'auto_backfill',
    mode: 'observe',
    promoted_version_id: null,
  })
  expect(support.versions.map((version: Json) => version.version_id).sort()).toEqual([
    'support@v1',
    'support@v2',
  ])
  for (const version of support.versions)
    expect(version).toMatchObject({ status: 'observed', conflict: false })
  expect(support.total_runs).toBeGreaterThanOrEqual(3)
}

export async function recordVerifies(
  target: Target,
  recordId: string,
  status: string,
): Promise<void> {
  const record = await fetch(`${target.url}/v1/vaas/${recordId}`)
  expect(record.status).toBe(200)
  const verified: Json = await (await fetch(`${target.url}/v1/vaas/${recordId}/verify`)).json()
  expect(verified.valid, JSON.stringify(verified.checks)).toBe(true)
  const evidence: Json = await (await fetch(`${target.url}/v1/vaas/${recordId}/evidence`)).json()
  expect(evidence.payload.status).toBe(status)
}

/** The receipt of an answer; every header of it must be there. */
export function receiptOf(headers: Headers) {
  const read = (name: string) => {
    const value = headers.get(name)
    expect(value, name).toBeTruthy()
    return value ?? ''
  }
  for (const name of [
    'X-Request-Id',
    'X-BatchIn-Route-Id',
    'X-BatchIn-Provider',
    'X-BatchIn-Environment',
    'X-VaaS-PublicKey',
    'X-VaaS-Signature',
    'Access-Control-Expose-Headers',
  ])
    read(name)
  return {
    traceparent: read('traceparent'),
    runId: read('X-BatchIn-Run-Id'),
    recordId: read('X-VaaS-Record-Id'),
    promptVersion: read('X-BatchIn-Prompt-Version'),
  }
}
