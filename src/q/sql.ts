// `q` as a condition on one span: a table of fields, and every value bound.

import { parsePrefixed, parseTraceId, toHex } from '../../schemas/ids.ts'
import type { Params } from '../traces/trace-query.ts'
import { type Comparison, type QNode, refused, type Wanted } from './syntax.ts'

type Field =
  | { kind: 'text'; column: string; empty?: string }
  /** `per`: what one of the unit is in the column; `has`: whether the span reports it at all. */
  | { kind: 'number'; column: string; per: number; has?: string }
  | { kind: 'id'; column: string; toHex: (text: string) => string | undefined }

const runToHex = (text: string) => {
  const id = parsePrefixed('run', text)
  return id && toHex(id)
}

/** What may stand before the colon. Times in milliseconds, cost in US dollars. */
export const qFields: Readonly<Record<string, Field>> = {
  service: { kind: 'text', column: 'service' },
  name: { kind: 'text', column: 'name' },
  type: { kind: 'text', column: 'type' },
  status: { kind: 'text', column: 'status' },
  message: { kind: 'text', column: 'status_message' },
  source: { kind: 'text', column: 'source' },
  environment: { kind: 'text', column: 'environment' },
  provider: { kind: 'text', column: 'provider' },
  model: { kind: 'text', column: 'model' },
  route_id: { kind: 'text', column: 'route_id' },
  prompt: { kind: 'text', column: 'prompt_registry' },
  prompt_version_id: { kind: 'text', column: 'prompt_version_id', empty: 'default' },
  session_id: { kind: 'text', column: 'session_id' },
  user_id: { kind: 'text', column: 'user_id' },
  input: { kind: 'text', column: 'input_preview' },
  output: { kind: 'text', column: 'output_preview' },
  trace_id: { kind: 'id', column: 'trace_id', toHex: parseTraceId },
  run_id: { kind: 'id', column: 'run_id', toHex: runToHex },
  latency: { kind: 'number', column: 'duration_ns', per: 1e6 },
  ttft: { kind: 'number', column: 'ttft_ns', per: 1e6, has: 'ttft_ns != 0' },
  tokens: {
    kind: 'number',
    column: 'input_tokens + output_tokens',
    per: 1,
    has: 'bitAnd(usage, 1) != 0',
  },
  input_tokens: { kind: 'number', column: 'input_tokens', per: 1, has: 'bitAnd(usage, 1) != 0' },
  output_tokens: { kind: 'number', column: 'output_tokens', per: 1, has: 'bitAnd(usage, 1) != 0' },
  cost: { kind: 'number', column: 'cost_nano_usd', per: 1e9, has: 'bitAnd(usage, 2) != 0' },
}

// Texts in which a bare word is looked for. Long ones are there by their beginnings only.
const wordColumns = [
  'name',
  'service',
  'model',
  'status_message',
  'input_preview',
  'output_preview',
]

/** SQL over `spans`. Throws `invalid_request` with the place of a field or value that there is not. */
export function toCondition(tree: QNode): { sql: string; params: Params } {
  const params: Params = {}
  let count = 0
  const bind = (value: string | number, type: 'String' | 'Float64'): string => {
    const name = `q${count++}`
    params[name] = value
    return `{${name}:${type}}`
  }

  function conditionOf(node: QNode): string {
    switch (node.kind) {
      case 'and':
      case 'or':
        return `(${node.of.map(conditionOf).join(node.kind === 'and' ? ' AND ' : ' OR ')})`
      case 'not':
        return `NOT ${conditionOf(node.of)}`
      case 'word':
        return wordCondition(node.text)
      case 'field':
        return fieldCondition(node)
      default:
        return node satisfies never
    }
  }

  function wordCondition(text: string): string {
    const value = bind(text, 'String')
    const parts = wordColumns.map(
      (column) => `positionCaseInsensitiveUTF8(${column}, ${value}) > 0`,
    )
    const traceId = parseTraceId(text)
    if (traceId) parts.push(`trace_id = unhex(${bind(traceId, 'String')})`)
    const runId = runToHex(text)
    if (runId) parts.push(`run_id = unhex(${bind(runId, 'String')})`)
    return `(${parts.join(' OR ')})`
  }

  function fieldCondition({ field, wanted, at }: Extract<QNode, { kind: 'field' }>): string {
    if (field.startsWith('attr.')) return attributeCondition(field.slice(5), wanted, at)
    const known = Object.hasOwn(qFields, field) ? qFields[field] : undefined
    if (!known)
      throw refused(
        at,
        `knows no field \`${field}\` (attributes are \`attr.${field}:\`; put text with a colon in quotes)`,
      )
    if (known.kind === 'number') return numberCondition(known, wanted, at)
    if (wanted.kind !== 'text') throw refused(at, `cannot compare \`${field}\` by size`)
    if (known.kind === 'text') return textCondition(known, wanted)
    const hex = known.toHex(wanted.text)
    if (!hex) throw refused(at, `has no such id for \`${field}\``)
    return `${known.column} = unhex(${bind(hex, 'String')})`
  }

  function textCondition(
    { column, empty }: Extract<Field, { kind: 'text' }>,
    { text, isQuoted }: Extract<Wanted, { kind: 'text' }>,
  ): string {
    if (text === empty) return `${column} = ''`
    if (isQuoted || !text.includes('*')) return `${column} = ${bind(text, 'String')}`
    return `${column} ILIKE ${bind(toPattern(text), 'String')}`
  }

  function numberCondition(
    { column, per, has }: Extract<Field, { kind: 'number' }>,
    wanted: Wanted,
    at: number,
  ): string {
    const all: Comparison[] | { op: '='; value: string }[] =
      wanted.kind === 'compare' ? wanted.all : [{ op: '=', value: wanted.text }]
    const parts = all.map(
      ({ op, value }) => `(${column}) ${op} ${bind(toNumber(value, at) * per, 'Float64')}`,
    )
    return `(${[...(has ? [has] : []), ...parts].join(' AND ')})`
  }

  function attributeCondition(key: string, wanted: Wanted, at: number): string {
    const name = bind(key, 'String')
    if (wanted.kind === 'compare') {
      const parts = wanted.all.map(
        ({ op, value }) => `attr_num[${name}] ${op} ${bind(toNumber(value, at), 'Float64')}`,
      )
      return `(mapContains(attr_num, ${name}) AND ${parts.join(' AND ')})`
    }
    const { text, isQuoted } = wanted
    if (!isQuoted && text === '*')
      return `(mapContains(attr_str, ${name}) OR mapContains(attr_num, ${name}))`
    if (!isQuoted && text.includes('*'))
      return `(mapContains(attr_str, ${name}) AND attr_str[${name}] ILIKE ${bind(toPattern(text), 'String')})`
    // A key that is not there reads as an empty text.
    const asText = `(mapContains(attr_str, ${name}) AND attr_str[${name}] = ${bind(text, 'String')})`
    const number = toAttributeNumber(text)
    if (number === undefined) return asText
    return `(${asText} OR (mapContains(attr_num, ${name}) AND attr_num[${name}] = ${bind(number, 'Float64')}))`
  }

  return { sql: conditionOf(tree), params }
}

/** The number as which an attribute of this text may be stored: booleans are 0 and 1. */
export function toAttributeNumber(text: string): number | undefined {
  if (text === 'true' || text === 'false') return text === 'true' ? 1 : 0
  const number = text.trim() === '' ? Number.NaN : Number(text)
  return Number.isNaN(number) ? undefined : number
}

function toNumber(text: string, at: number): number {
  const value = text.trim() === '' ? Number.NaN : Number(text)
  if (!Number.isFinite(value)) throw refused(at, `needs a number instead of \`${text}\``)
  return value
}

/** `*` stands for anything; everything else is itself. */
function toPattern(text: string): string {
  return text.replace(/[\\%_]/g, '\\$&').replaceAll('*', '%')
}
