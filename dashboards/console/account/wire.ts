// Keys and usage as the API sends them, read once at the door.

import { list, number, object, text, textOr } from '../wire.ts'

export type ApiKey = {
  id: string
  name: string
  scopes: string[]
  rateLimitRpm: number | null
  monthlyBudgetCents: number | null
  monthSpentCents: number | null
  createdAt: string
}

export type Totals = {
  requests: number | null
  inputTokens: number | null
  outputTokens: number | null
  costCents: number | null
  /** Requests whose cost nobody knows: their model has no price. */
  unpriced: number | null
}

export type UsageRow = Totals & { name: string }
export type Usage = Totals & { byModel: UsageRow[]; byDay: UsageRow[] }

export function readKeys(body: unknown): ApiKey[] {
  return list(body).map((item) => {
    const from = object(item)
    return {
      id: text(from.id),
      name: text(from.name),
      scopes: list(from.scopes).map(text),
      rateLimitRpm: number(from.rate_limit_rpm),
      monthlyBudgetCents: number(from.monthly_budget_cents),
      monthSpentCents: number(from.month_spent_cents),
      createdAt: text(from.created_at),
    }
  })
}

/** The key in clear, which is in this answer and in no later one. */
export function readMadeKey(body: unknown): string | null {
  return textOr(object(body).key)
}

export function readUsage(body: unknown): Usage {
  const from = object(body)
  return {
    ...readTotals(from),
    byModel: list(from.by_model).map((item) => readRow(item, 'model')),
    byDay: list(from.by_day).map((item) => readRow(item, 'date')),
  }
}

function readRow(item: unknown, name: string): UsageRow {
  const from = object(item)
  return { name: text(from[name]), ...readTotals(from) }
}

function readTotals(from: ReturnType<typeof object>): Totals {
  return {
    requests: number(from.total_requests),
    inputTokens: number(from.total_input_tokens),
    outputTokens: number(from.total_output_tokens),
    costCents: number(from.total_cost_cents),
    unpriced: number(from.unpriced_requests),
  }
}
