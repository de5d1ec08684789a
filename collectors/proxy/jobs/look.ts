// A look at a job: its provider is asked how far it is. Law: whoever sees its end first closes its run, caller or not.

import type { IncomingHttpHeaders } from 'node:http'
import { Fault } from '../../../schemas/faults.ts'
import { isEncoded } from '../answer-headers.ts'
import { parseObject } from '../completion.ts'
import { toErrorAnswer } from '../error-body.ts'
import type { Routes } from '../targets/routes.ts'
import type { Upstream, UpstreamGet, UpstreamHandler } from '../upstream.ts'
import { faultOf } from '../upstream-faults.ts'
import { type Fetched, fetchWhole } from './fetching.ts'
import type { Job, JobReceipt } from './job.ts'
import { closeJob, type JobDeps } from './run-of-job.ts'
import { withOurMembers } from './video-form.ts'
import { stateOf } from './videos.ts'

/** On whose behalf a provider is asked, and until when; its headers that are for the upstream are passed on. */
export type Asker = Pick<UpstreamGet, 'clientHeaders' | 'requestId'> & { signal?: AbortSignal }

/** `body` is the answer with our members; `receipt` stands for the job after this look. */
export type Look = { answer: Fetched; body: Buffer; receipt: JobReceipt }

/** Throws a Fault where the provider cannot be asked, or answers nothing that may be passed on. */
export async function lookAt(
  deps: JobDeps & { routes: Routes },
  job: Job,
  by: Asker,
): Promise<Look> {
  const path = `/videos/${encodeURIComponent(job.id)}`
  const { upstream, request } = toAsk(deps.routes, { job, path, accept: 'application/json', by })
  const ask = (handler: UpstreamHandler) => upstream.get(request, handler)
  const answer = await fetchWhole(ask, by.signal).catch((error) => {
    throw faultOf(error)
  })
  refuseUnusable(answer.status, answer.headers)
  if (answer.status >= 400) {
    const headers = { ...answer.headers, 'content-type': 'application/json' }
    const { body } = toErrorAnswer(answer.status, answer.body)
    return { answer: { ...answer, headers }, body, receipt: job.receipt }
  }
  if (answer.status !== 200) return { answer, body: answer.body, receipt: job.receipt }
  const body = withOurMembers(answer.body, { seconds: job.seconds })
  return { answer, body, receipt: await settle(deps, job, body) }
}

export function toAsk(
  routes: Routes,
  of: { job: Job; path: string; accept: string; by: Asker; range?: readonly string[] },
): { upstream: Upstream; request: UpstreamGet } {
  const provider = routes.provider(of.job.provider)
  if (!provider) throw refusal('The provider of this job is not configured any more.')
  const { upstream, keys } = provider
  const { job, path, accept, range = [] } = of
  const { clientHeaders, requestId } = of.by
  // What one key has made another may not see. Of a job from before its key was noted nobody knows which.
  const own = job.keyTag === undefined ? -1 : keys.tags.indexOf(job.keyTag)
  const apiKey = keys.texts[own >= 0 ? own : keys.pick(0, Date.now())]
  return { upstream, request: { path, accept, clientHeaders, requestId, apiKey, range } }
}

async function settle(deps: JobDeps, job: Job, body: Buffer): Promise<JobReceipt> {
  const answer = parseObject(body)
  const isNews = job.receipt.phase === 'begin' && answer && stateOf(answer).isOver
  if (!isNews) return job.receipt
  return deps.jobs.closeOnce(job, async () => (await closeJob(deps, job, answer)).receipt)
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
