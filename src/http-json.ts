// Reading a small JSON body at the API's own routes.

import type { Context } from 'koa'
import { readBody } from '../collectors/body.ts'
import { parseJson } from '../collectors/json-body.ts'
import { Fault } from '../schemas/faults.ts'

const bodyBytesMax = 1024 * 1024
const deadlineMs = 30_000

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
