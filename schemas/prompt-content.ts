// The content of a declared prompt version, as it is posted, stored and served. Content is never changed, only added.

import { z } from 'zod'
import { isSlug, isVersion } from './ids.ts'
import { toJcs } from './jcs.ts'
import { policyShape, promptModes } from './prompt-policy.ts'
import {
  parseTemplate,
  renderedCharsMax,
  TemplateError,
  type TemplatePart,
  templateCharsMax,
  variablesOf,
} from './template.ts'

export const registryIdShape = z
  .string()
  .refine(isSlug, 'must be 1 to 64 of a-z, 0-9, dot, dash and underscore')
export const versionShape = z
  .string()
  .refine(isVersion, 'must be 1 to 64 letters, digits, dots, dashes and underscores')
const reasonShape = z.string().trim().min(1).max(1_000)

const messageShape = z.strictObject({
  role: z.enum(['system', 'developer', 'user', 'assistant']),
  content: z.string().max(templateCharsMax).superRefine(refuseBadTemplate),
})

function refuseBadTemplate(text: string, context: z.RefinementCtx): void {
  try {
    parseTemplate(text)
  } catch (error) {
    if (!(error instanceof TemplateError)) throw error
    context.addIssue({ code: 'custom', message: error.message })
  }
}

export const contentShape = z.strictObject({
  messages: z.array(messageShape).min(1).max(64),
  model: z.string().min(1).max(256).optional(),
  params: z.record(z.string().max(64), z.json()).optional().superRefine(refuseOddParams),
  tools: z.array(z.json()).min(1).max(128).optional(),
  response_format: z.record(z.string(), z.json()).optional(),
})

// What the request itself says stays the request's; a parameter of these names would be another message, or another upstream.
const reservedParams = [
  'messages',
  'model',
  'tools',
  'response_format',
  'prompt',
  'input',
  'stream',
  'stream_options',
  'user',
]

function refuseOddParams(params: object | undefined, context: z.RefinementCtx): void {
  for (const name of Object.keys(params ?? {}))
    if (reservedParams.includes(name))
      context.addIssue({
        code: 'custom',
        path: [name],
        message: 'is no parameter of a prompt version',
      })
}

export type PromptMessage = z.infer<typeof messageShape>
export type PromptContent = z.infer<typeof contentShape>

/** `POST /v1/prompts`. */
export const declarationShape = z
  .strictObject({
    registry_id: registryIdShape,
    version: versionShape.optional(),
    ...contentShape.shape,
    note: z.string().max(4_000).optional(),
  })
  .refine(
    (given) => given.messages.reduce((sum, one) => sum + one.content.length, 0) <= renderedCharsMax,
    `All messages together have at most ${renderedCharsMax} characters.`,
  )
export type Declaration = z.infer<typeof declarationShape>

/** `POST …/promote`, `…/rollback`, `…/pin`, `PATCH …`. Versions may be written with or without their registry. */
export const promotionShape = z.strictObject({
  version: z.string().min(1).max(129),
  /** Null: none is promoted yet. Absent: whatever is. */
  expected_promoted_version: z.string().min(1).max(129).nullable().optional(),
  reason: reasonShape,
})
export const rollbackShape = z.strictObject({
  reason: reasonShape,
  to: z.string().min(1).max(129).optional(),
})
/** `version: null` takes the pin out. */
export const pinShape = z.strictObject({
  version: z.string().min(1).max(129).nullable(),
  reason: reasonShape,
})
/** `POST …/resume`: the new versions that stopped a flood have been looked at. */
export const resumeShape = z.strictObject({ reason: reasonShape })
export const registryPatchShape = z.strictObject({
  display_name: z.string().trim().min(1).max(200).optional(),
  mode: z.enum(promptModes).optional(),
  policy: policyShape.optional(),
})

/** The parts of every message, in order. */
export function partsOfContent(content: PromptContent): TemplatePart[][] {
  return content.messages.map((message) => parseTemplate(message.content))
}

export function variablesOfContent(content: PromptContent): string[] {
  return variablesOf(partsOfContent(content).flat())
}

/** What each sub-hash is taken of, as canonical text; empty for what a version does not say. */
export function hashedPartsOf(
  content: PromptContent,
): Record<'text' | 'tools' | 'responseFormat' | 'params', string> {
  const { messages, model, params, tools, response_format } = content
  const served = {
    ...(model === undefined ? {} : { model }),
    ...(params === undefined ? {} : { params }),
  }
  return {
    text: toJcs(messages),
    // The order of tools is not theirs to change a version by; what they are is.
    tools: tools
      ? tools
          .map((tool) => toJcs(tool))
          .sort()
          .join(',')
      : '',
    responseFormat: response_format ? toJcs(response_format) : '',
    params: Object.keys(served).length > 0 ? toJcs(served) : '',
  }
}
