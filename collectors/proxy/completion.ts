// What is kept of an answer, the same from a JSON body and from a stream: the choices of audit.md 2.3, usage, ids.

import { toOutputObject } from '../../schemas/commit.ts'
import type { Usage } from '../../schemas/run.ts'
import { isDeeper } from '../json-body.ts'
import { asText } from './plain.ts'
import { isObject, readUsage } from './usage.ts'

export type ToolCall = {
  id: string
  type: string
  function: { name: string; arguments: string }
}

export type Completion = {
  /** As committed to and kept: of a chat `{choices}`, each `{index, message, finish_reason}`; undefined when nothing came. */
  output: unknown
  /** The answer's own parts, where `output` names media by their hashes. */
  whole?: unknown
  /** Of an answer that only says what will be made. */
  job?: { id: string; fileId: string | null; isOver: boolean; hasFailed: boolean }
  /** Of the sound that was read or made, when the answer says. */
  audioSeconds?: number
  finishReasons: string[]
  /** True when something was made: a text, a refusal, a tool call. */
  hasContent: boolean
  usage: Usage | undefined
  modelServed: string | undefined
  responseId: string | null
  systemFingerprint: string | null
  /** An error the upstream reported inside an answer of status 200. */
  error: { code: string; message: string } | undefined
  /** True when the text was longer than is kept. */
  cut: boolean
}

export function emptyCompletion(): Completion {
  return {
    output: undefined,
    finishReasons: [],
    hasContent: false,
    usage: undefined,
    modelServed: undefined,
    responseId: null,
    systemFingerprint: null,
    error: undefined,
    cut: false,
  }
}

/** The body of a chat completion, or of a completion of text; undefined when it is neither. */
export function readCompletion(body: Buffer): Completion | undefined {
  const answer = parseObject(body)
  if (!answer || !Array.isArray(answer.choices)) return undefined
  const completion = emptyCompletion()
  takeIds(completion, answer)
  completion.usage = readUsage(answer.usage)
  completion.output = toOutputObject(answer)
  for (const choice of answer.choices) {
    if (!isObject(choice)) continue
    if (typeof choice.finish_reason === 'string')
      completion.finishReasons.push(choice.finish_reason)
    const message = isObject(choice.message) ? choice.message : {}
    completion.hasContent ||= Boolean(
      message.content || message.refusal || message.tool_calls || choice.text,
    )
  }
  if (isObject(answer.error)) completion.error = readError(answer.error)
  return completion
}

export function readError(error: Record<string, unknown>): { code: string; message: string } {
  const code = [error.code, error.type].find((it) => typeof it === 'string' && it !== '')
  return {
    code: String(code ?? 'upstream_error').slice(0, 128),
    message: asText(error.message ?? '').slice(0, messageCharsMax),
  }
}

/** The ids that every answer and every chunk carry; the first that is given stays. */
export function takeIds(completion: Completion, from: Record<string, unknown>): void {
  if (completion.responseId === null) completion.responseId = toText(from.id) ?? null
  completion.modelServed ??= toText(from.model)
  if (completion.systemFingerprint === null) {
    completion.systemFingerprint = toText(from.system_fingerprint) ?? null
  }
}

export const messageCharsMax = 2048
const idCharsMax = 256

/** An upstream's JSON object; undefined when the body is none, or too deep to walk. */
export function parseObject(body: Buffer): Record<string, unknown> | undefined {
  // An upstream is a stranger too: what is too deep to walk is no completion.
  if (isDeeper(body)) return undefined
  try {
    const value: unknown = JSON.parse(body.toString())
    return isObject(value) ? value : undefined
  } catch {
    return undefined // not JSON: the caller says what that means
  }
}

function toText(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value.slice(0, idCharsMax) : undefined
}
