// What a call consumed: tokens by kind, money, and the speeds that follow from them.

import { cost, count, duration } from '../format.ts'
import { Empty, Id, Text } from '../ui/atoms.tsx'
import type { Span } from '../wire.ts'

// The first key present answers; the later ones are the spellings of other dialects.
const detailKeys = {
  cached: [
    'gen_ai.usage.cache_read.input_tokens',
    'gen_ai.usage.cached_tokens',
    'llm.token_count.prompt_details.cache_read',
  ],
  reasoning: [
    'gen_ai.usage.reasoning.output_tokens',
    'gen_ai.usage.reasoning_tokens',
    'llm.token_count.completion_details.reasoning',
  ],
  ttftSeconds: ['gen_ai.response.time_to_first_chunk', 'gen_ai.server.time_to_first_token'],
} as const

export function Usage({ span }: { span: Span }) {
  const { inputTokens: input, outputTokens: output } = span
  if (input === null && output === null && span.costUsd === null) {
    return (
      <Empty icon="none" title="No usage on this span">
        <p>
          Only model calls report tokens and cost. The totals of the trace are at the top of the
          page.
        </p>
      </Empty>
    )
  }
  const cached = detail(span, 'cached')
  const reasoning = detail(span, 'reasoning')
  const total = (input ?? 0) + (output ?? 0)
  return (
    <>
      <section className="block">
        <h3>Tokens</h3>
        <Share input={input ?? 0} output={output ?? 0} />
        <table className="numbers">
          <tbody>
            <Line name="Input" value={count(input)} unit="tokens" />
            {cached !== null && (
              <Line name="of these cached" value={count(cached)} unit="tokens" sub />
            )}
            <Line name="Output" value={count(output)} unit="tokens" />
            {reasoning !== null && (
              <Line name="of these reasoning" value={count(reasoning)} unit="tokens" sub />
            )}
            <Line name="Total" value={count(total)} unit="tokens" />
          </tbody>
        </table>
      </section>
      <CostAndSpeed span={span} total={total} />
      <dl className="plain-facts">
        <dt>Model</dt>
        <dd>
          <Text>{span.model ?? '–'}</Text>
        </dd>
        {span.runId && (
          <>
            <dt>Run</dt>
            <dd>
              <Id id={span.runId} what="run id" />
            </dd>
          </>
        )}
      </dl>
    </>
  )
}

function CostAndSpeed({ span, total }: { span: Span; total: number }) {
  const ttft = detail(span, 'ttftSeconds')
  const perSecond =
    span.outputTokens !== null && span.durationMs > 0
      ? span.outputTokens / (span.durationMs / 1000)
      : null
  return (
    <section className="block">
      <h3>Cost and speed</h3>
      <table className="numbers">
        <tbody>
          <Line name="Cost" value={cost(span.costUsd)} unit="USD" />
          <Line
            name="Per 1,000 tokens"
            value={total > 0 && span.costUsd !== null ? cost((span.costUsd / total) * 1000) : '–'}
            unit="USD"
          />
          <Line name="Duration" value={duration(span.durationMs)} unit="" />
          {ttft !== null && (
            <Line name="Time to first token" value={duration(ttft * 1000)} unit="" />
          )}
          <Line
            name="Output over the whole call"
            value={perSecond === null ? '–' : count(Number(perSecond.toFixed(1)))}
            unit="tokens/s"
          />
        </tbody>
      </table>
    </section>
  )
}

function Line({
  name,
  value,
  unit,
  sub,
}: {
  name: string
  value: string
  unit: string
  sub?: boolean
}) {
  return (
    <tr data-sub={sub || undefined}>
      <th scope="row">{name}</th>
      <td>{value}</td>
      <td className="quiet">{unit}</td>
    </tr>
  )
}

function Share({ input, output }: { input: number; output: number }) {
  const total = input + output
  if (total === 0) return null
  return (
    <div
      className="share"
      role="img"
      aria-label={`${Math.round((100 * input) / total)} % input, the rest output`}
    >
      <span style={{ width: `${(100 * input) / total}%` }} />
    </div>
  )
}

function detail(span: Span, what: keyof typeof detailKeys): number | null {
  for (const key of detailKeys[what]) {
    const value = Number(
      span.attributes.find((attribute) => attribute.key === key)?.value ?? Number.NaN,
    )
    if (Number.isFinite(value)) return value
  }
  return null
}
