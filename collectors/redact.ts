// What the operator wants kept out of storage: texts that match are replaced, named attributes are left out, before anything
// of a run is written. What a record commits to is what was sent and answered: its salted hash tells nobody the text. Names of models
// stay, because prices and figures go by them.

import type { Config, RedactRule } from '../schemas/config.ts'
import type { Run } from '../schemas/run.ts'

/** Members of a run that stand under an attribute's name. */
const memberNames = {
  'session.id': 'sessionId',
  'user.id': 'userId',
} as const

export type Redaction = {
  /** Replaces what is kept of the run; the request and the answer themselves stay as they are. */
  run(run: Run): void
  /** The text as it may be written under an attribute's name; '' when that attribute is left out. */
  text(name: string, text: string): string
  attributes(attributes: Run['attributes']): void
  /** What a run keeps as its input, where that is written before the run. */
  input(input: unknown): unknown
  /** Without the members that match: what is left is a list as before. */
  traceState(traceState: string): string
  /** Texts of an upstream's own choosing, though it calls them names. */
  upstream(upstream: Run['upstream']): Run['upstream']
}

/** By the rules that are in force when it is called. */
export function redactionBy(current: () => Pick<Config, 'redact'>): Redaction {
  let rules: readonly RedactRule[] = []
  let compiled = compile(rules)
  const live = () => {
    const { redact } = current()
    if (redact !== rules) {
      rules = redact
      compiled = compile(redact)
    }
    return compiled
  }
  return {
    run(run) {
      const by = live()
      if (!by.isEmpty) redactRun(by, run)
    },
    text(name, text) {
      const by = live()
      return by.isEmpty ? text : by.names.has(name) ? '' : replace(by, text)
    },
    attributes(attributes) {
      const by = live()
      if (!by.isEmpty) redactAttributes(by, attributes)
    },
    input(input) {
      const by = live()
      return by.isEmpty ? input : redactInput(by, input)
    },
    traceState(traceState) {
      const by = live()
      return by.isEmpty ? traceState : redactTraceState(by, traceState)
    },
    upstream(upstream) {
      const by = live()
      return by.isEmpty ? upstream : redactUpstream(by, upstream)
    },
  }
}

type Compiled = {
  isEmpty: boolean
  names: ReadonlySet<string>
  patterns: readonly { pattern: RegExp; replacement: string }[]
}

function compile(rules: readonly RedactRule[]): Compiled {
  return {
    isEmpty: rules.length === 0,
    names: new Set(rules.flatMap((rule) => ('attribute' in rule ? [rule.attribute] : []))),
    patterns: rules.flatMap((rule) =>
      'pattern' in rule
        ? [{ pattern: new RegExp(rule.pattern, 'gu'), replacement: rule.replacement }]
        : [],
    ),
  }
}

function redactRun(by: Compiled, run: Run): void {
  redactAttributes(by, run.attributes)
  // Another name than ours was made up by whoever posted the run.
  if (run.name !== `${run.operation} ${run.modelRequested}`) run.name = replace(by, run.name)
  run.service = replace(by, run.service)
  run.input = redactInput(by, run.input)
  run.output = by.names.has('gen_ai.output.messages') ? undefined : redactValue(by, run.output)
  if (run.error)
    run.error = { code: replace(by, run.error.code), message: replace(by, run.error.message) }
  run.finishReasons = run.finishReasons.map((reason) => replace(by, reason))
  run.traceState = redactTraceState(by, run.traceState)
  run.upstream = redactUpstream(by, run.upstream)
  for (const [name, member] of Object.entries(memberNames)) {
    const key = member as 'sessionId' | 'userId' // the only values of the table
    run[key] = by.names.has(name) ? '' : replace(by, run[key])
  }
  if (!run.promptVariables) return
  const variables = Object.entries(run.promptVariables)
    .filter(([name]) => !by.names.has(`gen_ai.prompt.variable.${name}`))
    .map(([name, value]) => [name, replace(by, value)] as const)
  run.promptVariables = Object.fromEntries(variables)
}

function redactInput(by: Compiled, input: unknown): unknown {
  return by.names.has('gen_ai.input.messages') ? undefined : redactValue(by, input)
}

function redactTraceState(by: Compiled, traceState: string): string {
  const members = traceState.split(',')
  const left = members.filter((member) => replace(by, member) === member).join(',')
  // What matches over a comma is in no member alone.
  return replace(by, left) === left ? left : ''
}

function redactUpstream(by: Compiled, upstream: Run['upstream']): Run['upstream'] {
  const { responseId, systemFingerprint, requestId } = upstream
  const replaced = (text: string | null) => (text === null ? null : replace(by, text))
  return {
    responseId: replaced(responseId),
    systemFingerprint: replaced(systemFingerprint),
    requestId: replaced(requestId),
  }
}

function redactAttributes(by: Compiled, attributes: Run['attributes']): void {
  for (const [name, value] of Object.entries(attributes)) {
    if (by.names.has(name)) delete attributes[name]
    else if (typeof value === 'string') attributes[name] = replace(by, value)
  }
}

/** A copy with every text in it replaced, names of members too: callers put data there as well. JSON, and no deeper than it was read. */
function redactValue(by: Compiled, value: unknown): unknown {
  if (typeof value === 'string') return replace(by, value)
  if (Array.isArray(value)) return value.map((item) => redactValue(by, item))
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(
    Object.entries(value).map(([name, item]) => [replace(by, name), redactValue(by, item)]),
  )
}

function replace(by: Compiled, text: string): string {
  let redacted = text
  for (const { pattern, replacement } of by.patterns) {
    redacted = redacted.replace(pattern, () => replacement)
  }
  return redacted
}
