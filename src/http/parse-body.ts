// A JSON body against its shape: every mistake at once, each with the path to it, and nothing that Postgres cannot store.

import type { z } from 'zod'
import { Fault } from '../../schemas/faults.ts'

const mistakesTold = 20

/** The value in its shape. Throws `invalid_request` naming everything that is wrong; `param` is the first of it. */
export function parseBody<T>(shape: z.ZodType<T>, body: unknown): T {
  refuseUnstorable(body)
  const read = shape.safeParse(body)
  if (read.success) return read.data
  const mistakes = read.error.issues.map(({ path, message }) => ({ at: pathOf(path), message }))
  const told = mistakes
    .slice(0, mistakesTold)
    .map(({ at, message }) => (at === '' ? message : `${at}: ${message}`))
  const more = mistakes.length - told.length
  throw new Fault('invalid_request', {
    message: `${told.join('; ')}${more > 0 ? `; and ${more} more` : ''}`,
    ...(mistakes[0]?.at ? { param: mistakes[0].at } : {}),
  })
}

function pathOf(path: readonly PropertyKey[]): string {
  return path.reduce<string>((text, step) => {
    if (typeof step === 'number') return `${text}[${step}]`
    return text === '' ? String(step) : `${text}.${String(step)}`
  }, '')
}

// Escapes of well-formed JSON text: NUL, which Postgres refuses, and halves of surrogate pairs, which are no text.
function refuseUnstorable(body: unknown): void {
  const text = JSON.stringify(body) ?? ''
  if (!/(?:^|[^\\])(?:\\\\)*\\u(?:0000|d[89a-f][0-9a-f]{2})/i.test(text)) return
  throw new Fault('invalid_request', {
    message: 'The body has a NUL character or half of a surrogate pair in a text.',
  })
}
