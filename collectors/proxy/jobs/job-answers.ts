// GET on a job and on what it made: asked of the provider that does it, for the workspace that started it. Whoever sees its
// end first closes its run.

import type { IncomingHttpHeaders } from 'node:http'
import type { Context } from 'koa'
import type { Caller } from '../../../schemas/caller.ts'
import { Fault } from '../../../schemas/faults.ts'
import { toPrefixed } from '../../../schemas/ids.ts'
import { pushAnswerHeaders, upstreamRequestIdOf } from '../answer-headers.ts'
import { fromNote } from '../openings.ts'
import { exposed } from '../receipt.ts'
import type { Routes } from '../targets/routes.ts'
import { toTraceparent } from '../trace-context.ts'
import { passBytes, rangeOf } from './fetching.ts'
import type { Job, JobReceipt } from './job.ts'
import { type Asker, lookAt, toAsk } from './look.ts'
import type { JobDeps } from './run-of-job.ts'

const idPattern = /^[\w.:-]{1,256}$/

export type JobAnswers = {
  video(ctx: Context, id: string): Promise<void>
  videoContent(ctx: Context, id: string): Promise<void>
  fileContent(ctx: Context, id: string): Promise<void>
}

/** `ctx.state.caller` and `ctx.state.requestId` are set before. An id of another workspace is one that does not exist. */
export function jobAnswers(deps: JobDeps & { routes: Routes }): JobAnswers {
  const find = async (ctx: Context, id: string, by: 'find' | 'findByFile'): Promise<Job> => {
    const { workspace } = ctx.state.caller as Caller // the door has checked its scope
    const job = idPattern.test(id) ? await deps.jobs[by](workspace, id) : undefined
    if (!job) throw new Fault('not_found', { message: `There is no ${id.slice(0, 256)} here.` })
    return job
  }
  const content = async (ctx: Context, job: Job, path: string): Promise<void> => {
    const of = { job, path, accept: '*/*', by: askerOf(ctx), range: rangeOf(ctx.req) }
    const { upstream, request } = toAsk(deps.routes, of)
    await passBytes(ctx, (handler) => upstream.get(request, handler), receiptOf(job, job.receipt))
  }
  return {
    async video(ctx, id) {
      const job = await find(ctx, id, 'find')
      const { answer, body, receipt } = await lookAt(deps, job, askerOf(ctx))
      setHeaders(ctx, [...receiptOf(job, receipt), ...passed(answer.headers, job)])
      ctx.status = answer.status
      ctx.body = body
    },
    async videoContent(ctx, id) {
      const job = await find(ctx, id, 'find')
      await content(ctx, job, `/videos/${encodeURIComponent(id)}/content${queryOf(ctx)}`)
    },
    async fileContent(ctx, id) {
      await content(
        ctx,
        await find(ctx, id, 'findByFile'),
        `/files/${encodeURIComponent(id)}/content`,
      )
    },
  }
}

function askerOf(ctx: Context): Asker {
  return { clientHeaders: ctx.req.headers, requestId: String(ctx.state.requestId) }
}

/** As the answer that started the job had them; the signature is that of the record that stands now. */
function receiptOf(job: Job, receipt: JobReceipt): string[] {
  const { run, facts } = fromNote({ id: Buffer.from(job.runId, 'hex'), note: job.note })
  const headers = [
    'traceparent',
    toTraceparent(run.traceId, run.spanId, job.traceFlags),
    'Access-Control-Expose-Headers',
    exposed,
    'X-BatchIn-Run-Id',
    toPrefixed('run', run.runId),
    'X-BatchIn-Route-Id',
    facts.routePublic ? run.routeId : run.routeLabel,
    'X-BatchIn-Environment',
    run.environment,
    'X-BatchIn-Prompt-Version',
    facts.promptVersionId,
    'X-VaaS-Record-Id',
    toPrefixed('vaas', run.recordId),
    'X-VaaS-PublicKey',
    receipt.publicKey,
    'X-VaaS-Key-Id',
    receipt.keyId,
    'X-VaaS-Signature',
    receipt.signature,
    'X-VaaS-Phase',
    receipt.phase,
  ]
  if (facts.routePublic) headers.push('X-BatchIn-Provider', run.provider)
  return headers
}

function passed(headers: IncomingHttpHeaders, job: Job): string[] {
  const list: string[] = []
  const { facts } = fromNote({ id: Buffer.from(job.runId, 'hex'), note: job.note })
  pushAnswerHeaders(list, headers, facts.routePublic)
  const id = upstreamRequestIdOf(headers)
  if (id !== null) list.push('X-Upstream-Request-Id', id)
  return list
}

function setHeaders(ctx: Context, list: string[]): void {
  for (let i = 0; i < list.length; i += 2) ctx.set(list[i]!, list[i + 1]!)
}

/** Of all an SDK may ask there (`variant=thumbnail`), nothing is ours to know. */
function queryOf(ctx: Context): string {
  return ctx.querystring === '' ? '' : `?${ctx.querystring}`
}
