// One agent at work: plan, call a model, call a tool, again and again; two hundred spans.

import { hex, type Random } from './seed-random.ts'
import { calls, modelSpan, type SeedSpan, spanOf } from './seed-spans.ts'

const agentSteps = 66

export function makeAgentTrace(random: Random, startMs: number): SeedSpan[] {
  const traceId = hex(random, 16)
  const call = calls[1]!
  const root = spanOf(random, {
    traceId,
    service: 'checkout-agent',
    name: 'invoke_agent order-planner',
    kind: 1,
    startMs,
    durationMs: 0,
  })
  root.attributes = {
    'gen_ai.operation.name': 'invoke_agent',
    'gen_ai.agent.name': 'order-planner',
    'session.id': 's-agent',
    'user.id': 'user-7',
  }
  const spans = [root]
  let at = startMs + 3
  for (let step = 0; step < agentSteps; step++) {
    const stepSpan = spanOf(random, {
      traceId,
      service: 'checkout-agent',
      name: `step ${step + 1}`,
      kind: 1,
      startMs: at,
      durationMs: 0,
    })
    stepSpan.parentSpanId = root.spanId
    const model = modelSpan(random, {
      call,
      traceId,
      startMs: at + 1,
      durationMs: 180 + random() * 400,
    })
    model.parentSpanId = stepSpan.spanId
    const tool = spanOf(random, {
      traceId,
      service: 'catalogue',
      name: 'execute_tool find_product',
      kind: 3,
      startMs: model.startMs + model.durationMs,
      durationMs: 12 + random() * 60,
    })
    tool.parentSpanId = stepSpan.spanId
    tool.attributes = {
      'gen_ai.operation.name': 'execute_tool',
      'gen_ai.tool.name': 'find_product',
      'gen_ai.tool.call.arguments': `{"sku":"A-${1000 + step}"}`,
      'gen_ai.tool.call.result': `{"in_stock":${random() > 0.2}}`,
    }
    if (step === 41) tool.error = 'catalogue: 503'
    stepSpan.durationMs = tool.startMs + tool.durationMs - at + 1
    spans.push(stepSpan, model, tool)
    at += stepSpan.durationMs + 2
  }
  root.durationMs = at - startMs
  const summary = spanOf(random, {
    traceId,
    service: 'checkout-agent',
    name: 'POST /orders',
    kind: 3,
    startMs: at,
    durationMs: 35,
  })
  summary.parentSpanId = root.spanId
  return [...spans, summary]
}
