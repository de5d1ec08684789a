// POST /v1/runs: runs that did not pass through the proxy. Each is judged alone, signed, and stored before the answer.

import type { Context } from 'koa'
import type { ZodError } from 'zod'
import type { Caller } from '../../schemas/caller.ts'
import type { Counters } from '../../schemas/counters.ts'
import { Fault, type FaultCode } from '../../schemas/faults.ts'
import { type Id, toPrefixed } from '../../schemas/ids.ts'
import type { PromptLinks, PromptSights } from '../../schemas/prompt.ts'
import type { SignedRecord, SignerOf } from '../../schemas/record.ts'
import type { Run } from '../../schemas/run.ts'
import { ByteBudget, type Lease, readBody } from '../body.ts'
import { parseJson } from '../json-body.ts'
import type { EnvelopeBook } from '../otlp/envelopes.ts'
import type { Redaction } from '../redact.ts'
import type { Intake } from '../spool/intake.ts'
import { pushRecord } from '../spool/rows.ts'
import { type Answered, type KnownRun, knownRuns, runIdOf, toAgain } from './known-runs.ts'
import { postedRun } from './posted-run.ts'
import { idsOf } from './run-ids.ts'
import { pushRun } from './span.ts'
import { toFacts, toRun } from './to-run.ts'

const bodyBytesMax = 64 * 1024 * 1024
const bodyDeadlineMs = 60_000
const heldBytesMax = 256 * 1024 * 1024
const runsMax = 1000
// One write to the spool: small enough that others are not held up behind it.
const writeRunsMax = 50
// Runs with an id of their own that were stored lately: a repeat is answered, and not stored again.
const rememberedMax = 100_000
const mistakesTold = 3

export type RunDeps = {
  intake: Intake
  envelopes: EnvelopeBook
  redaction?: Redaction
  signerOf: SignerOf
  prompts: PromptLinks
  /** Absent: a run that names no prompt has none. */
  sights?: PromptSights
  /** What a run cost by our own prices; absent: nobody knows. */
  priceOf?: (run: Run) => { nanoUsd: bigint; version: string } | undefined
  counters: Counters
  environment: string
  /** Derives the ids of runs that name themselves; at least 32 bytes, never changed. */
  idSecret: Uint8Array
  /** The runs of ours, by hex of their id, that the workspace already has: the proxy's, sent again by their client. */
  findRuns: (workspace: string, runIds: Id[]) => Promise<Map<string, KnownRun>>
}

type Accepted = { index: number; run: Run; signed: SignedRecord; memory: string | undefined }
type Rejected = { index: number; code: FaultCode; message: string }

/** A Koa middleware; `ctx.state.caller` is set before it, and faults are answered outside. */
export function runs(deps: RunDeps): (ctx: Context) => Promise<void> {
  const stored = new Map<string, true>()
  const budget = new ByteBudget(heldBytesMax)
  return async (ctx) => {
    const lease = budget.lease()
    try {
      await take(ctx, await readItems(ctx, lease))
    } finally {
      lease.release()
    }
  }

  async function take(ctx: Context, items: unknown[]): Promise<void> {
    const { workspace } = ctx.state.caller as Caller // the door has checked its scope
    const signer = await signerOf(deps, workspace)
    const accepted: Accepted[] = []
    const rejected: Rejected[] = []
    const known = await knownRuns(items, (ids) => deps.findRuns(workspace, ids))
    items.forEach((item, index) => {
      const read = postedRun.safeParse(item)
      if (!read.success) {
        rejected.push({ index, code: 'invalid_request', message: describe(read.error) })
        return
      }
      const posted = read.data
      if (posted.run_id && known.has(posted.run_id)) return
      const ids = idsOf(workspace, posted, deps.idSecret)
      const run = toRun({
        posted,
        ids,
        workspace,
        prompts: deps.prompts,
        environment: deps.environment,
      })
      reckon(deps, run)
      const memory = posted.run_id ? `${workspace} ${toPrefixed('run', run.runId)}` : undefined
      accepted.push({ index, run, signed: signer.final(toFacts(run)), memory })
    })
    const kept = await store(deps, stored, accepted, rejected)
    const again = items.flatMap((item, index) =>
      toAgain(known.get(runIdOf(item) ?? ''), item, index),
    )
    if (kept.length === 0 && accepted.length > 0) throw new Fault('service_unavailable')
    for (const { run } of kept) sight(deps, run)
    rejected.sort((a, b) => a.index - b.index)
    deps.counters.count('runs_posted_total', { outcome: 'accepted' }, kept.length)
    deps.counters.count('runs_posted_total', { outcome: 'rejected' }, rejected.length)
    ctx.status = 200
    ctx.body = {
      accepted: kept.length + again.length,
      rejected,
      runs: [...kept.map(toAnswer), ...again].sort((a, b) => a.index - b.index),
    }
  }
}

/** A run that was made elsewhere was paid for elsewhere: its cost is reckoned, marked as such, and charged to nobody. */
function reckon({ priceOf }: RunDeps, run: Run): void {
  const cost = priceOf?.(run)
  if (!cost) return
  run.costNanoUsd = cost.nanoUsd
  run.attributes['batchin.price.version'] = cost.version
  run.attributes['batchin.cost.computed'] = true
}

/** Shown to whoever finds versions once it is stored: a version that is found is told to the stored run. */
function sight({ sights }: RunDeps, run: Run): void {
  if (run.operation !== 'chat' || run.prompt !== undefined) return
  const facts = {
    workspace: run.workspace,
    ref: run.runId,
    messages: run.input,
    tools: undefined,
    responseFormat: undefined,
    temperature: run.attributes['gen_ai.request.temperature'],
    slug: undefined,
    version: undefined,
    user: run.userId,
    redact: undefined, // what is in a run has been redacted
    atMs: Number(run.startUnixNano / 1_000_000n),
  }
  sights?.see(facts, () => false)
}

function toAnswer({ index, run }: Accepted): Answered {
  return {
    index,
    run_id: toPrefixed('run', run.runId),
    trace_id: run.traceId,
    record_id: toPrefixed('vaas', run.recordId),
  }
}

/** Writes what is new, a slice at a time; those of a slice that failed are told so, each by its index. */
async function store(
  deps: RunDeps,
  stored: Map<string, true>,
  accepted: Accepted[],
  rejected: Rejected[],
): Promise<Accepted[]> {
  const names = new Set<string>()
  const fresh: Accepted[] = []
  // Stored lately, or standing earlier in this request: the same run again.
  const again: Accepted[] = []
  for (const item of accepted) {
    const { memory } = item
    if (memory && (stored.has(memory) || names.has(memory))) again.push(item)
    else fresh.push(item)
    if (memory) names.add(memory)
  }
  const kept: Accepted[] = []
  for (let at = 0; at < fresh.length; at += writeRunsMax) {
    const slice = fresh.slice(at, at + writeRunsMax)
    const fault = await writeSlice(deps, slice)
    if (fault) reject(rejected, slice, fault)
    else {
      kept.push(...slice)
      for (const { memory } of slice) if (memory) remember(stored, memory)
    }
  }
  for (const item of again) {
    if (item.memory && stored.has(item.memory)) kept.push(item)
    else reject(rejected, [item], new Fault('service_unavailable'))
  }
  return kept.sort((a, b) => a.index - b.index)
}

function reject(rejected: Rejected[], items: Accepted[], { code, message }: Fault): void {
  for (const { index } of items) rejected.push({ index, code, message })
}

/** Settles when the rows are durable, or with the fault that kept them from it. */
async function writeSlice(deps: RunDeps, slice: Accepted[]): Promise<Fault | undefined> {
  const { workspace } = slice[0]!.run
  const notes = deps.envelopes.open(workspace)
  try {
    await deps.intake.write(
      (batch) => {
        for (const { run, signed } of slice) {
          deps.redaction?.run(run)
          pushRecord(batch, signed)
          pushRun(batch, run, notes)
        }
      },
      { workspace },
    )
  } catch (error) {
    if (error instanceof Fault) return error
    throw error
  }
  notes.keep()
  return undefined
}

function remember(stored: Map<string, true>, key: string): void {
  stored.set(key, true)
  if (stored.size <= rememberedMax) return
  for (const oldest of stored.keys()) {
    stored.delete(oldest)
    return
  }
}

async function readItems(ctx: Context, lease: Lease): Promise<unknown[]> {
  if (!ctx.is('json', '+json')) {
    throw new Fault('unsupported_media_type', { message: 'Send application/json.' })
  }
  const bytes = await readBody(ctx.req, {
    limitBytes: bodyBytesMax,
    deadlineMs: bodyDeadlineMs,
    encodings: ['gzip'],
    lease,
  })
  const body = parseJson(bytes)
  if (typeof body !== 'object' || body === null || Array.isArray(body)) {
    throw new Fault('invalid_request', {
      message: 'The body must be a run, or an object with runs.',
    })
  }
  if (!('runs' in body)) return [body]
  if (!Array.isArray(body.runs) || body.runs.length > runsMax) {
    const message = `runs must be a list of at most ${runsMax} runs.`
    throw new Fault('invalid_request', { message, param: 'runs' })
  }
  return body.runs
}

async function signerOf(deps: RunDeps, workspace: string): ReturnType<SignerOf> {
  try {
    return await deps.signerOf(workspace)
  } catch (error) {
    throw new Fault('service_unavailable', {}, { cause: error })
  }
}

function describe(error: ZodError): string {
  const told = error.issues.slice(0, mistakesTold).map((issue) => {
    const path = issue.path.join('.')
    return path === '' ? issue.message : `${path}: ${issue.message}`
  })
  const more = error.issues.length - told.length
  return told.join('; ') + (more > 0 ? `; and ${more} more` : '')
}
