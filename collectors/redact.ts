// What the operator wants kept out of storage: texts that match are replaced, named attributes are left out, before anything
// of a run is written. What a record commits to is what was sent and answered: its salted hash tells nobody the text.

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
  run.input = by.names.has('gen_ai.input.messages') ? undefined : redactValue(by, run.input)
  run.output = by.names.has('gen_ai.output.messages') ? undefined : redactValue(by, run.output)
  if (run.error) run.error = { ...run.error, message: replace(by, run.error.message) }
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
