// A past request with another version's prompt: the variables are taken out with the version it was made with, checked byte for
// byte, and put into the other. What cannot be done surely is not done; the reason is named.

import { promptOf, promptPlaceOf } from '../../replay/discovery/prompt-text.ts'
import { carry, extract, render, type Template } from '../../replay/discovery/template.ts'
import { type PromptContent, partsOfContent } from '../../schemas/prompt-content.ts'
import { extractVariables, renderTemplate, variablesOf } from '../../schemas/template.ts'
import type { StoredContent, VersionFacts } from './rows.ts'

export type Message = { role: string; content: unknown; [member: string]: unknown }

/** What a replay takes from the other version. Members that are absent stay as the run had them. */
export type Rerendered =
  | {
      ok: true
      messages: Message[]
      tools?: unknown
      response_format?: unknown
      model?: string
      params?: Record<string, unknown>
    }
  | { ok: false; reason: RerenderFailure; detail: string }

/** `not_rendered`: the run's prompt is not what its version gives back. `no_template`: too little is known of a version. */
export type RerenderFailure = 'no_template' | 'not_rendered' | 'ambiguous' | 'missing_variable'

type Arm = Pick<VersionFacts, 'versionId' | 'content' | 'hashes'>
type Taken = {
  values: Map<string, string> /** The messages that are not the prompt's. */
  rest: Message[]
}

/** `variables`: as the run recorded them, when it did; they are checked like any other. */
export function rerender(given: {
  messages: readonly Message[]
  from: Arm
  to: Arm
  variables?: Readonly<Record<string, string>> | undefined
}): Rerendered {
  const { from, to, messages } = given
  if (!from.content) return failed('no_template', `Of ${from.versionId} only the name is known.`)
  if (!to.content) return failed('no_template', `Of ${to.versionId} only the name is known.`)
  if (from.content.kind === 'discovered' && to.content.kind === 'discovered')
    return betweenDiscovered(messages, { from: from.content, to: to.content, arms: { from, to } })
  if (to.content.kind === 'discovered')
    return failed(
      'no_template',
      `${to.versionId} was found in traffic; it is not compared with a declared version.`,
    )
  const taken =
    from.content.kind === 'declared'
      ? takeDeclared(messages, from.content, given.variables)
      : takeDiscovered(messages, from.content.template)
  if (!('values' in taken)) return taken
  return fillDeclared(taken, to.content, to.versionId)
}

function failed(reason: RerenderFailure, detail: string): Extract<Rerendered, { ok: false }> {
  return { ok: false, reason, detail }
}

type Discovered = Extract<StoredContent, { kind: 'discovered' }>

function betweenDiscovered(
  messages: readonly Message[],
  given: { from: Discovered; to: Discovered; arms: { from: Arm; to: Arm } },
): Rerendered {
  const { from, to, arms } = given
  // Without a fixed word a template gives everything back, and says nothing.
  for (const [arm, content] of [[arms.from, from] as const, [arms.to, to] as const])
    if (content.template.literals.length === 0)
      return failed('no_template', `Nothing in ${arm.versionId} has shown to be fixed yet.`)
  const text = promptOf(messages)
  const values = extract(from.template, text)
  if (!values || render(from.template, values) !== text)
    return failed('not_rendered', 'The template does not give back this prompt.')
  const carried = carry(values, from.template, to.template)
  if (carried.missing.length > 0) return failed('missing_variable', carried.missing.join(', '))
  const place = promptPlaceOf(messages)
  if (place === undefined)
    return failed('ambiguous', 'The prompt is spread over several messages or parts.')
  const replaced = messages.map((message, i) =>
    i === place.message
      ? { ...message, content: place.write(render(to.template, carried.values)) }
      : message,
  )
  return { ok: true, messages: replaced, ...aroundOf(arms, to) }
}

// Only what differs between the two is taken over: of the rest the run itself knows best.
function aroundOf(arms: { from: Arm; to: Arm }, content: Discovered) {
  const differs = (part: 'tools' | 'responseFormat') =>
    arms.from.hashes?.[part] !== arms.to.hashes?.[part]
  return {
    ...(differs('tools') && content.tools !== undefined ? { tools: content.tools } : {}),
    ...(differs('responseFormat') && content.response_format !== undefined
      ? { response_format: content.response_format }
      : {}),
  }
}

function takeDeclared(
  messages: readonly Message[],
  content: PromptContent,
  variables: Readonly<Record<string, string>> | undefined,
): Taken | Extract<Rerendered, { ok: false }> {
  const parts = partsOfContent(content)
  const values = new Map<string, string>()
  for (const [i, template] of parts.entries()) {
    const message = messages[i]
    const text = message && textOf(message)
    if (text === undefined || message?.role !== content.messages[i]!.role)
      return failed('not_rendered', `Message ${i + 1} is not the version's.`)
    const found = readWith(template, text, variables) ?? extractVariables(template, text)
    if (!found)
      return failed(
        'ambiguous',
        `Message ${i + 1} is not the version's, or can be read in several ways.`,
      )
    for (const [name, value] of found) {
      if ((values.get(name) ?? value) !== value)
        return failed('not_rendered', `The variable ${name} has two values.`)
      values.set(name, value)
    }
  }
  return { values, rest: messages.slice(parts.length) }
}

// Recorded variables are a claim: they count when they give the message back.
function readWith(
  template: Parameters<typeof renderTemplate>[0],
  text: string,
  variables: Readonly<Record<string, string>> | undefined,
): Map<string, string> | undefined {
  const values = new Map<string, string>()
  for (const name of variablesOf(template)) {
    if (!variables || !Object.hasOwn(variables, name)) return undefined
    values.set(name, variables[name]!)
  }
  return renderTemplate(template, values) === text ? values : undefined
}

function takeDiscovered(
  messages: readonly Message[],
  template: Template,
): Taken | Extract<Rerendered, { ok: false }> {
  const text = promptOf(messages)
  const found = extract(template, text)
  if (!found || render(template, found) !== text)
    return failed('not_rendered', 'The template does not give back this prompt.')
  const place = promptPlaceOf(messages)
  if (place === undefined)
    return failed('ambiguous', 'The prompt is spread over several messages or parts.')
  const values = new Map<string, string>()
  for (const [i, slot] of template.slots.entries()) {
    const value = found[i]!
    // Text between the lines, such as a retrieved document, has no name that a declared prompt could ask for.
    if (slot.kind === 'gap' && value.trim() !== '')
      return failed(
        'missing_variable',
        `Text between the lines of the prompt (${slot.name}) has no place.`,
      )
    values.set(slot.name, value.trim())
  }
  return { values, rest: messages.filter((_, i) => i !== place.message) }
}

function fillDeclared(
  { values, rest }: Taken,
  content: PromptContent,
  versionId: string,
): Rerendered {
  const parts = partsOfContent(content)
  const missing = variablesOf(parts.flat()).filter((name) => !values.has(name))
  if (missing.length > 0)
    return failed('missing_variable', `${versionId} asks for ${missing.join(', ')}.`)
  const messages = parts.map((template, i) => ({
    role: content.messages[i]!.role,
    content: renderTemplate(template, values),
  }))
  const { tools, response_format, model, params } = content
  return {
    ok: true,
    messages: [...messages, ...rest],
    ...(tools === undefined ? {} : { tools }),
    ...(response_format === undefined ? {} : { response_format }),
    ...(model === undefined ? {} : { model }),
    ...(params === undefined ? {} : { params }),
  }
}

function textOf(message: Message): string | undefined {
  const { content } = message
  if (typeof content === 'string') return content
  if (!Array.isArray(content) || content.length !== 1) return undefined
  const text: unknown = Object(content[0]).text
  return typeof text === 'string' ? text : undefined
}
