// Checks of one answer. Hard ones know right from wrong without another answer; relative ones ask whether it is still what the
// baseline's answer was.

import type { Expectations, ReplayOutput } from '../../schemas/experiment.ts'
import { findSchemaProblem } from './json-schema.ts'
import { languageOf } from './language.ts'
import { normalise, toCanonicalCalls, toJson } from './text.ts'

/** `reference` is the baseline's answer; for the baseline's own check it is itself. */
export type Checked = { output: ReplayOutput; reference: ReplayOutput; expectations: Expectations }

/** What is wrong, in words; undefined: nothing. */
export type Check = (checked: Checked) => string | undefined

export const answered: Check = ({ output }) =>
  output.text.trim() === '' && output.toolCalls.length === 0 ? 'the answer is empty' : undefined

const brokenFinishes = new Set(['length', 'max_tokens', 'content_filter', 'safety', 'error'])

export const finishReason: Check = ({ output }) =>
  output.finishReason !== null && brokenFinishes.has(output.finishReason.toLowerCase())
    ? `finish reason ${output.finishReason}`
    : undefined

export const jsonSchema: Check = ({ output, expectations }) => {
  // A call is the answer's other form; the text beside it is free.
  if (expectations.schema === undefined || output.toolCalls.length > 0) return undefined
  const json = toJson(output.text) ?? toScalar(output.text)
  if (json === undefined) return 'the answer is not JSON'
  return findSchemaProblem(expectations.schema, json)
}

function toScalar(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

const refusalHeadLength = 240
const refusals = [
  /\bI(?:'m| am) (?:sorry|afraid),? (?:but )?(?:I )?(?:can(?:no|')t|am unable|am not able|won't)/i,
  /\bI (?:can(?:no|')t|am unable to|'m unable to|am not able to|'m not able to|won't) (?:help|assist|comply|provide|do that|answer|fulfil|continue|discuss|share)/i,
  /\bI(?:'m| am) (?:unable|not able) to (?:help|assist|comply|provide|answer|fulfil|continue|discuss|share)/i,
  /\bas an AI(?: language)? model\b/i,
  /\b(?:against|violates?) (?:my|our|the) (?:guidelines|polic(?:y|ies)|programming)/i,
  /\bIch kann (?:dabei|dir dabei|Ihnen dabei) (?:leider )?nicht helfen/i,
  /\bJe ne peux pas (?:vous )?(?:aider|répondre)/i,
  /\bNo puedo (?:ayudar|responder)/i,
]

export const refusal: Check = ({ output }) => {
  const head = normalise(output.text.slice(0, refusalHeadLength))
  const found = refusals.find((pattern) => pattern.test(head))
  return found === undefined ? undefined : `reads as a refusal: "${head.slice(0, 60)}"`
}

const leaks: [string, RegExp][] = [
  ['a private key', /-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----/],
  ['an API key', /\b(?:sk|rk|pk)[-_](?:live|test|proj|ant|or)?[-_]?[A-Za-z0-9_-]{20,}/],
  ['an API key', /\b(?:ghp|gho|ghs|github_pat|glpat|xox[abprs]|batchin_api)[-_][A-Za-z0-9_-]{20,}/],
  ['an API key', /\b(?:AKIA|ASIA)[A-Z0-9]{16}\b|\bAIza[A-Za-z0-9_-]{35}/],
  ['a signed token', /\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}/],
  ['a social security number', /(?<![\d-])(?!000|666|9)\d{3}-(?!00)\d{2}-(?!0000)\d{4}(?![\d-])/],
]
const cardNumber = /(?<![\d-])\d(?:[ -]?\d){12,18}(?![\d-])/g

/** Names the kind, never the secret itself: findings are stored and shown. */
export const leak: Check = ({ output }) => {
  const text = `${output.text}\n${output.toolCalls.map((call) => call.arguments).join('\n')}`
  const found = leaks.find(([, pattern]) => pattern.test(text))
  if (found !== undefined) return `contains ${found[0]}`
  const hasCard = (text.match(cardNumber) ?? []).some((digits) => isLuhn(digits))
  return hasCard ? 'contains a card number' : undefined
}

function isLuhn(text: string): boolean {
  const digits = text.replaceAll(/\D/g, '')
  let sum = 0
  for (let i = 0; i < digits.length; i++) {
    const digit = Number(digits.at(-1 - i))
    sum += i % 2 === 0 ? digit : digit > 4 ? digit * 2 - 9 : digit * 2
  }
  return sum % 10 === 0 && /[1-9]/.test(digits)
}

export const lengthMax: Check = ({ output, expectations: { lengthMax } }) =>
  lengthMax !== undefined && output.text.length > lengthMax
    ? `${output.text.length} characters, above ${lengthMax}`
    : undefined

/** Declared: an answer in another language is wrong. */
export const declaredLanguage: Check = ({ output, expectations: { language } }) => {
  const found = languageOf(output.text)
  if (language === undefined || found === undefined || found === language) return undefined
  return `the language is ${found}, not ${language}`
}

export const sameLanguage: Check = ({ output, reference }) => {
  const [before, after] = [languageOf(reference.text), languageOf(output.text)]
  if (before === undefined || after === undefined || before === after) return undefined
  return `the language was ${before}, is ${after}`
}

const lengthRatioMax = 3
const lengthComparedMin = 200

/** Three times as long, or a third: another kind of answer. Short texts vary more than that by nature. */
export const sameLength: Check = ({ output, reference }) => {
  const [before, after] = [reference.text.trim().length, output.text.trim().length]
  if (Math.max(before, after) < lengthComparedMin) return undefined
  const ratio = (after + 1) / (before + 1)
  return ratio > lengthRatioMax || ratio < 1 / lengthRatioMax
    ? `${before} characters became ${after}`
    : undefined
}

/** Name and canonical arguments of every call; order only where it was declared to matter. */
export const sameToolCalls: Check = ({ output, reference, expectations }) => {
  const [before, after] = [toCanonicalCalls(reference), toCanonicalCalls(output)]
  const inOrder = (calls: string[]) => (expectations.toolOrder === 'same' ? calls : calls.sort())
  const [left, right] = [inOrder(before), inOrder(after)]
  if (JSON.stringify(left) === JSON.stringify(right)) return undefined
  return `calls were ${spell(left)}, are ${spell(right)}`
}

function spell(calls: readonly string[]): string {
  return calls.length === 0 ? 'none' : calls.join(', ').slice(0, 120)
}
