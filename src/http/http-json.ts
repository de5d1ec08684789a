// Reading a small JSON body at the API's own routes.

import type { Context } from 'koa'
import type { z } from 'zod'
import { readBody } from '../../collectors/body.ts'
import { parseJson } from '../../collectors/json-body.ts'
import { Fault } from '../../schemas/faults.ts'

const bodyBytesMax = 1024 * 1024
const deadlineMs = 30_000
const mistakesTold = 20

/** The parsed JSON body: at most 1 MiB, `application/json`, well-formed UTF-8. Throws the fault that says what is wrong. */
export async function readJson(ctx: Context): Promise<unknown> {
  if (!ctx.is('application/json')) {
    throw new Fault('unsupported_media_type', {
      message: 'Send application/json.',
    })
  }
  const bytes = await readBody(ctx.req, {
    limitBytes: bodyBytesMax,
    deadlineMs,
    encodings: [],
  })
  return parseJson(bytes)
}

/** The JSON body as the schema has it. Throws `invalid_request` naming every mistake with its path, the first one as `param`. */
export async function readWish<S extends z.ZodType>(ctx: Context, schema: S): Promise<z.infer<S>> {
  const parsed = schema.safeParse(await readJson(ctx))
  if (parsed.success) return parsed.data
  const { issues } = parsed.error
  const told = issues.slice(0, mistakesTold).map((issue) => {
    const path = issue.path.join('.')
    return path === '' ? issue.message : `${path}: ${issue.message}`
  })
  const param = issues[0]?.path.join('.')
  throw new Fault('invalid_request', { message: told.join('; '), ...(param ? { param } : {}) })
}
