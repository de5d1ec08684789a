// VaaS on the wire: make a record, read it, verify it, take its evidence away, open its commitments. Everything but making and
// opening is public: the id of a record is 74 random bits, and nothing behind it names a person or quotes a text.

import type Router from '@koa/router'
import type { Context } from 'koa'
import type { Intake } from '../../collectors/spool/intake.ts'
import { pushRecord } from '../../collectors/spool/rows.ts'
import type { JsonObject } from '../../schemas/evidence.ts'
import { Fault } from '../../schemas/faults.ts'
import { type Id, newId, parseTraceId, toHex, toPrefixed, toUuid } from '../../schemas/ids.ts'
import type { RecordFacts } from '../../schemas/record.ts'
import { toVerdict } from '../../schemas/verify.ts'
import { requireScope } from '../accounts/access.ts'
import { readJson } from '../http/http-json.ts'
import { type Checks, openChecks } from '../records/checks.ts'
import { type Evidences, readPayload } from '../records/evidence.ts'
import type { Ledger } from '../records/ledger.ts'
import {
  parseRecordId,
  type Records,
  type StoredPhase,
  type StoredRecord,
} from '../records/records.ts'

// How soon a caller should look again for a record whose call still runs.
const retryAfterS = 2
const modelIdLengthMax = 256
const gpuIdPattern = /^[A-Za-z0-9._:/-]{1,128}$/
// Of text that nobody counted: four bytes to a token, and the record says that it is an estimate.
const bytesPerToken = 4
const logNotOpen = 'The transparency log of this issuer is not open yet.'

export type VaasDeps = {
  records: Records
  evidence: Evidences
  ledger: Ledger
  intake: Intake
  /** The environment of records that were posted alone. */
  environment: string
}

/** Every route of VaaS, under its name and under the older `/v1/audit`. */
export function vaasRoutes(router: Router, deps: VaasDeps): void {
  const check = openChecks(deps.ledger.root)
  for (const base of ['/v1/vaas', '/v1/audit']) {
    // Before `:id`, which would match them.
    router.get(`${base}/pubkey/current`, (ctx) => showCurrentKey(ctx, deps))
    router.get(`${base}/keys`, (ctx) => showKeys(ctx, deps))
    router.post(base, (ctx) => createRecord(ctx, deps))
    router.get(`${base}/:id`, (ctx) => showRecord(ctx, deps))
    router.get(`${base}/:id/verify`, (ctx) => showChecks(ctx, deps, check))
    router.get(`${base}/:id/evidence`, (ctx) => showEvidence(ctx, deps))
    router.get(`${base}/:id/disclosure`, (ctx) => showDisclosure(ctx, deps))
  }
  router.get('/v1/vaas/log/*path', () => {
    throw new Fault('not_found', { message: logNotOpen })
  })
}

/** A record of a call that was made elsewhere. It is on disk before its signature is shown. */
async function createRecord(
  ctx: Context,
  { ledger, intake, environment }: VaasDeps,
): Promise<void> {
  const caller = requireScope(ctx, 'proxy')
  const body = readCreation(await readJson(ctx))
  const now = new Date()
  const facts: RecordFacts = {
    recordId: newId(now.getTime()),
    runId: new Uint8Array(16) as Id, // no run of ours: the record stands alone
    workspace: caller.workspace,
    traceId: parseTraceId(ctx.get('traceparent').split('-')[1] ?? '') ?? '',
    routeId: '',
    routeLabel: '',
    routePublic: true,
    provider: '',
    ...(body.gpuId === undefined ? undefined : { gpuId: body.gpuId }),
    environment,
    promptVersionId: 'default',
    modelId: body.modelId,
    status: 'completed',
    startedAt: now,
    completedAt: now,
    input: body.input,
    output: body.output,
    usage: {
      inputTokens: estimateTokens(body.input),
      cachedTokens: 0,
      outputTokens: estimateTokens(body.output),
      reasoningTokens: 0,
      estimated: true,
    },
    upstream: { responseId: null, systemFingerprint: null, requestId: null },
  }
  const signed = (await ledger.signerOf(caller.workspace)).final(facts)
  await intake.write((batch) => pushRecord(batch, signed))
  ctx.body = toAnswer(facts.recordId, {
    canonical: Buffer.from(signed.canonical),
    signature: Buffer.from(signed.signature),
  })
}

async function showRecord(ctx: Context, deps: VaasDeps): Promise<void> {
  const id = String(ctx.params.id)
  if (/^[0-9a-fA-F]{64}$/.test(id) && ctx.path.startsWith('/v1/audit/'))
    throw new Fault('not_found', { message: logNotOpen })
  const record = await getRecord(ctx, deps)
  ctx.body = toAnswer(record.recordId, record.final ?? record.begin!)
  if (!record.final) answerStillOpen(ctx, record)
}

async function showChecks(ctx: Context, deps: VaasDeps, check: Checks): Promise<void> {
  const record = await getRecord(ctx, deps)
  if (!isFinal(record)) return answerStillOpen(ctx, record)
  const checks = await check(await deps.evidence.of(record), record.final.canonical)
  ctx.body = {
    ...toNames(record.recordId),
    valid: toVerdict(checks) === 'valid',
    checks,
    // A convenience: whoever must not trust us verifies the evidence pack themselves.
    performed_by: 'issuer',
  }
}

async function showEvidence(ctx: Context, deps: VaasDeps): Promise<void> {
  const record = await getRecord(ctx, deps)
  if (!isFinal(record)) return answerStillOpen(ctx, record)
  ctx.body = await deps.evidence.of(record)
}

async function showDisclosure(ctx: Context, deps: VaasDeps): Promise<void> {
  const caller = requireScope(ctx, 'read')
  const record = await getRecord(ctx, deps)
  if (record.workspace !== caller.workspace) throw unknownRecord()
  ctx.set('Cache-Control', 'no-store')
  ctx.body = await deps.ledger.disclosureOf(caller.workspace, record.recordId)
}

function showCurrentKey(ctx: Context, { ledger }: VaasDeps): void {
  const { purpose: _, ...key } = ledger.current()
  ctx.body = { ...key, root: ledger.root }
}

async function showKeys(ctx: Context, { ledger }: VaasDeps): Promise<void> {
  ctx.body = { items: await ledger.keys(), next_cursor: null }
}

async function getRecord(ctx: Context, { records }: VaasDeps): Promise<StoredRecord> {
  const id = parseRecordId(String(ctx.params.id))
  const record = id && (await records.find(id))
  if (!record) throw unknownRecord()
  return record
}

function unknownRecord(): Fault {
  return new Fault('not_found', { message: 'There is no record by that id.' })
}

function isFinal(record: StoredRecord): record is StoredRecord & { final: StoredPhase } {
  return record.final !== undefined
}

/** 202: the call has begun, and its opening record is signed; the rest follows when it ends. */
function answerStillOpen(ctx: Context, record: StoredRecord): void {
  ctx.status = 202
  ctx.set('Retry-After', String(retryAfterS))
  ctx.body = toAnswer(record.recordId, record.begin!)
}

function toNames(recordId: Id): { audit_id: string; record_id: string } {
  return { audit_id: toUuid(recordId), record_id: toPrefixed('vaas', recordId) }
}

/** The record as documented: hashes and signature in bare hex. */
function toAnswer(recordId: Id, phase: Pick<StoredPhase, 'canonical' | 'signature'>): JsonObject {
  const { type: _, input_hash, output_hash, ...payload } = readPayload(phase)
  return {
    ...toNames(recordId),
    input_hash: toBareHex(input_hash),
    output_hash: toBareHex(output_hash),
    carbon_grams_co2e: null,
    energy_wh: null,
    energy_source: null,
    carbon_offset_vs_us_cloud: null,
    ...payload,
    risk_score: null, // no validators have run on it
    signature: toHex(phase.signature),
  }
}

function toBareHex(hash: JsonObject[string] | undefined): string | null {
  return typeof hash === 'string' ? hash.replace(/^sha256:/, '') : null
}

type Creation = { input: string; output: string; modelId: string; gpuId: string | undefined }

function readCreation(body: unknown): Creation {
  if (typeof body !== 'object' || body === null || Array.isArray(body))
    throw new Fault('invalid_request', { message: 'The body must be a JSON object.' })
  const fields = body as Record<string, unknown> // an object, just checked
  const modelId = readText(fields, 'model_id')
  if (modelId === '' || modelId.length > modelIdLengthMax)
    throw invalid('model_id', `must have 1 to ${modelIdLengthMax} characters`)
  const gpuId = fields.gpu_id == null ? undefined : readText(fields, 'gpu_id')
  if (gpuId !== undefined && !gpuIdPattern.test(gpuId))
    throw invalid('gpu_id', 'must be a masked identifier: 1 to 128 of A-Z a-z 0-9 . _ : / -')
  return {
    input: readText(fields, 'input_text'),
    output: readText(fields, 'output_text'),
    modelId,
    gpuId,
  }
}

function readText(fields: Record<string, unknown>, name: string): string {
  const value = fields[name]
  if (typeof value !== 'string') throw invalid(name, 'must be a string')
  return value
}

function invalid(param: string, says: string): Fault {
  return new Fault('invalid_request', { message: `\`${param}\` ${says}.`, param })
}

function estimateTokens(text: string): number {
  return Math.ceil(Buffer.byteLength(text) / bytesPerToken)
}
