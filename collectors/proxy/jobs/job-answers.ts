// GET on a job and on what it made: asked of the provider that does it, for the workspace that started it. Whoever sees its
// end first closes its run.

import type { IncomingHttpHeaders } from 'node:http'
import type { Context } from 'koa'
import type { Caller } from '../../../schemas/caller.ts'
import { Fault } from '../../../schemas/faults.ts'
import { toPrefixed } from '../../../schemas/ids.ts'
import { isEncoded, pushAnswerHeaders, upstreamRequestIdOf } from '../answer-headers.ts'
import { parseObject } from '../completion.ts'
import { faultOf } from '../held-answer.ts'
import { fromNote } from '../openings.ts'
import { exposed } from '../receipt.ts'
import type { Routes } from '../targets/routes.ts'
import { toTraceparent } from '../trace-context.ts'
import type { UpstreamGet } from '../upstream.ts'
import { fetchWhole, passBytes } from './fetching.ts'
import type { Job, JobReceipt } from './job.ts'
import { closeJob, type JobDeps } from './run-of-job.ts'
import { withOurMembers } from './video-form.ts'
import { stateOf } from './videos.ts'

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
    const { upstream, request } = toAsk(deps.routes, ctx, { job, path, accept: '*/*' })
    await passBytes(ctx, (handler) => upstream.get(request, handler), receiptOf(job, job.receipt))
  }
  return {
    async video(ctx, id) {
      const job = await find(ctx, id, 'find')
      const path = `/videos/${encodeURIComponent(id)}`
      const { upstream, request } = toAsk(deps.routes, ctx, {
        job,
        path,
        accept: 'application/json',
      })
      const answer = await fetchWhole((handler) => upstream.get(request, handler)).catch(
        (error) => {
          throw faultOf(error)
        },
      )
      refuseUnusable(answer.status, answer.headers)
      const isKnown = answer.status === 200
      const body = isKnown ? withOurMembers(answer.body, { seconds: job.seconds }) : answer.body
      const receipt = isKnown ? await settle(deps, job, body) : job.receipt
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

/** The receipt that stands for the job after this look at it. */
async function settle(deps: JobDeps, job: Job, body: Buffer): Promise<JobReceipt> {
  const answer = parseObject(body)
  const isNews = job.receipt.phase === 'begin' && answer && stateOf(answer).isOver
  if (!isNews) return job.receipt
  const { isMine, receipt } = await deps.jobs.claim(job)
  return isMine ? (await closeJob(deps, job, answer)).receipt : receipt
}

function toAsk(routes: Routes, ctx: Context, of: { job: Job; path: string; accept: string }) {
  const provider = routes.provider(of.job.provider)
  if (!provider) {
    const message = 'The provider of this job is not configured any more.'
    throw new Fault('upstream_error', { message, headers: { 'x-should-retry': 'false' } })
  }
  const { upstream, keys } = provider
  const request: UpstreamGet = {
    path: of.path,
    accept: of.accept,
    clientHeaders: ctx.req.headers,
    requestId: String(ctx.state.requestId),
    apiKey: keys.texts[keys.pick(0, Date.now())],
  }
  return { upstream, request }
}

function refuseUnusable(status: number, headers: IncomingHttpHeaders): void {
  if (status === 401 || status === 403)
    throw refusal('The upstream did not accept our credentials.')
  if (status >= 300 && status < 400) {
    throw refusal('The upstream answered with a redirect, which is not followed.')
  }
  if (isEncoded(headers))
    throw refusal('The upstream answered in an encoding that was not asked for.')
}

function refusal(message: string): Fault {
  return new Fault('upstream_error', { message, headers: { 'x-should-retry': 'false' } })
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
