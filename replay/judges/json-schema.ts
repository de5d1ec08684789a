// A prompt's JSON Schema, compiled once. Patterns are left out: they are regular expressions from outside, run on a model's
// text, and one of them could hold the process for ever.

import { z } from 'zod'

const cacheMax = 100
const compiled = new Map<string, z.ZodType>()

/** What is wrong with the value, in words; undefined: nothing. Throws for a schema that cannot be compiled. */
export function findSchemaProblem(schema: unknown, value: unknown): string | undefined {
  const result = compile(schema).safeParse(value)
  if (result.success) return undefined
  const issue = result.error.issues[0]
  return `${['', ...(issue?.path ?? [])].join('/') || '/'}: ${issue?.message ?? 'does not match'}`
}

/** Throws a sentence for a schema that cannot be compiled, so that a registration can refuse it before any call. */
export function checkSchema(schema: unknown): void {
  compile(schema)
}

/** Why a schema cannot be checked; undefined: it can. */
export function findUncheckable(schema: unknown): string | undefined {
  try {
    compile(schema)
    return undefined
  } catch (error) {
    return String(error instanceof Error ? error.message : error)
  }
}

function compile(schema: unknown): z.ZodType {
  const key = JSON.stringify(schema)
  const known = compiled.get(key)
  if (known !== undefined) return known
  if (typeof schema !== 'boolean' && (typeof schema !== 'object' || schema === null)) {
    throw new Error('A JSON Schema is an object or a boolean.')
  }
  // The library's type is of schemas that are already known to be right; it throws for those that are not.
  const made = z.fromJSONSchema(
    withoutPatterns(schema, 0) as Parameters<typeof z.fromJSONSchema>[0],
  )
  if (compiled.size >= cacheMax) compiled.clear()
  compiled.set(key, made)
  return made
}

// Values of these are data, in which `pattern` is a word like any other.
const data = new Set(['const', 'enum', 'default', 'examples'])
const depthMax = 100

function withoutPatterns(schema: unknown, depth: number): unknown {
  if (depth > depthMax) throw new Error(`The JSON Schema is deeper than ${depthMax}.`)
  if (Array.isArray(schema)) return schema.map((item) => withoutPatterns(item, depth + 1))
  if (typeof schema !== 'object' || schema === null) return schema
  return Object.fromEntries(
    Object.entries(schema)
      // A property that is called `pattern` has a schema for its value, not a string.
      .filter(([key, value]) => !(key === 'pattern' && typeof value === 'string'))
      .filter(([key]) => key !== 'patternProperties')
      .map(([key, value]) => [key, data.has(key) ? value : withoutPatterns(value, depth + 1)]),
  )
}
