// Tokens and cost of a trace, counted once: at the deepest span that reports them. Agents and steps repeat what their model
// calls already said, and a client's own span repeats what the proxy saw below it.

export type UsageSpan = {
  span: string
  parent: string
  usage: number
  input: number
  output: number
  cost: string
}
export type TraceUsage = {
  usage: number
  input: number
  output: number
  cost: bigint
}

/** Sums over the spans that report usage and have no descendant that does. Parents are claims: missing ones and cycles end a climb. */
export function countUsageOnce(spans: UsageSpan[]): TraceUsage {
  const byId = new Map(spans.map((span) => [span.span, span]))
  const repeated = new Set<string>()
  for (const span of spans) {
    if (span.usage === 0) continue
    const seen = new Set([span.span])
    for (
      let parent = byId.get(span.parent);
      parent && !seen.has(parent.span);
      parent = byId.get(parent.parent)
    ) {
      seen.add(parent.span)
      // Whoever is above an ancestor already climbed is marked too.
      if (repeated.has(parent.span)) break
      repeated.add(parent.span)
    }
  }
  const total: TraceUsage = { usage: 0, input: 0, output: 0, cost: 0n }
  for (const span of spans) {
    if (span.usage === 0 || repeated.has(span.span)) continue
    total.usage |= span.usage
    total.input += span.input
    total.output += span.output
    total.cost += BigInt(span.cost)
  }
  return total
}
