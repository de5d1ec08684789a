// Runs rows against an endpoint, each in every encoding it applies to, and judges the answers.

import { gzipSync } from 'node:zlib'
import { randomHex } from '../../schemas/ids.ts'
import { oracle, type Plain } from '../otlp-messages.ts'
import { openClient, type Target } from './client.ts'
import type { Answer, Client, Encoding, Expected, Fresh, Row } from './row.ts'

const readersMax = 8
const responseBytesMax = 4 * 1024 * 1024
const contentTypes = { json: 'application/json', protobuf: 'application/x-protobuf' }

export const caseNames = ['json', 'json gzip', 'protobuf', 'protobuf gzip', 'exchange'] as const
export type CaseName = (typeof caseNames)[number]

export type Outcome = { row: Row; name: CaseName; verdict: 'pass' | 'fail' | 'n/a'; why: string }

type Case = { row: Row; name: CaseName; encoding: Encoding; isGzip: boolean; fresh: Fresh }

/** One after the other, so that one row's load is not another's failure. Reading back comes last, when all is stored. */
export async function runRows(rows: Row[], target: Target, isAll = false): Promise<Outcome[]> {
  const client = openClient(target)
  const outcomes: Outcome[] = []
  const toRead: { outcome: Outcome; one: Case }[] = []
  for (const one of rows.flatMap(casesOf)) {
    const outcome = await runCase(one, client, isAll)
    outcomes.push(outcome)
    if (outcome.verdict === 'pass' && client.isOurs) toRead.push({ outcome, one })
  }
  const next = toRead.values()
  const reader = async () => {
    for (const { outcome, one } of next) {
      outcome.why = await readBack(one, client)
      if (outcome.why !== '') outcome.verdict = 'fail'
    }
  }
  await Promise.all(Array.from({ length: readersMax }, reader))
  return outcomes
}

export function casesOf(row: Row): Case[] {
  if (row.by) return [newCase(row, 'exchange', 'json')]
  return (['json', 'protobuf'] as const)
    .filter((encoding) => row[encoding])
    .flatMap((encoding) => [
      newCase(row, encoding, encoding),
      ...(row.plainOnly ? [] : [newCase(row, `${encoding} gzip` as const, encoding)]),
    ])
}

function newCase(row: Row, name: CaseName, encoding: Encoding): Case {
  const fresh = {
    traceId: randomHex(16),
    spanId: randomHex(8),
    startNs: BigInt(Date.now()) * 1_000_000n,
  }
  return { row, name, encoding, isGzip: name.endsWith('gzip'), fresh }
}

async function runCase(one: Case, client: Client, isAll: boolean): Promise<Outcome> {
  const { row, name } = one
  const skipped = whyNot(row, client, isAll)
  if (skipped) return { row, name, verdict: 'n/a', why: skipped }
  try {
    const answer = await (row.by ? row.by(client, one.fresh) : post(one, client))
    if (!answer) return { row, name, verdict: 'n/a', why: 'not offered' }
    const why = judge(answer, one, client.isOurs)
    return { row, name, verdict: why === '' ? 'pass' : 'fail', why }
  } catch (error) {
    return {
      row,
      name,
      verdict: 'fail',
      why: error instanceof Error ? error.message : String(error),
    }
  }
}

function whyNot(row: Row, client: Client, isAll: boolean): string {
  if (row.slow && !isAll) return `slow: ${row.slow}`
  if (row.send?.bare && !client.hasKey) return 'the endpoint was given no key'
  if (client.isOurs) return ''
  if (row.oursOnly) return 'of Runledger only'
  return row.expect.reads ? 'needs to read back' : ''
}

function post(one: Case, client: Client): Promise<Answer> {
  const { row, encoding, fresh } = one
  const body = Buffer.from(row[encoding]?.(fresh) ?? '')
  const zipped = one.isGzip ? { 'content-encoding': 'gzip' } : {}
  return client.send(one.isGzip ? gzipSync(body) : body, encoding, {
    ...row.send,
    headers: { ...zipped, ...row.send?.headers },
  })
}

/** What is wrong with an answer, in a sentence; empty when nothing is. */
function judge(answer: Answer, one: Case, isOurs: boolean): string {
  const { expect } = one.row
  if (answer.status !== expect.status)
    return `${answer.status} in place of ${expect.status}: ${answer.body.toString('latin1').slice(0, 200)}`
  for (const [name, pattern] of Object.entries(expect.headers ?? {}))
    if (!pattern.test(answer.headers[name] ?? ''))
      return `${name}: ${answer.headers[name]} is not ${pattern}`
  if (answer.body.length > responseBytesMax) return `an answer of ${answer.body.length} bytes`
  const form = expect.form ?? (expect.status === 200 ? 'full' : 'status')
  if (form === 'any') return ''
  const encoding = encodingOf(answer, one)
  if (typeof encoding === 'object') return encoding.wrong
  const message = parse(answer.body, encoding, form === 'status')
  if (typeof message === 'string') return message
  return form === 'status'
    ? judgeStatus(message, expect, isOurs)
    : judgeSuccess(message, { ...expect, form }, isOurs)
}

/** That of the request; JSON where the request named none. Exactly, without parameters. */
function encodingOf(answer: Answer, one: Case): Encoding | { wrong: string } {
  const type = answer.headers['content-type'] ?? ''
  const wanted =
    one.row.by || answer.status === 415 ? Object.values(contentTypes) : [contentTypes[one.encoding]]
  if (!wanted.includes(type)) return { wrong: `Content-Type ${type}, not ${wanted.join(' or ')}` }
  return type === contentTypes.json ? 'json' : 'protobuf'
}

function parse(body: Buffer, encoding: Encoding, isStatus: boolean): Plain | string {
  try {
    return encoding === 'json'
      ? JSON.parse(body.toString())
      : oracle.decode(isStatus ? 'RpcStatus' : 'ExportTraceServiceResponse', body)
  } catch {
    return `the body is no ${isStatus ? 'google.rpc.Status' : 'ExportTraceServiceResponse'} in ${encoding}`
  }
}

function judgeStatus(status: Plain, expect: Expected, isOurs: boolean): string {
  if (typeof status.message !== 'string' || status.message === '')
    return 'a Status without a message'
  if (isOurs && expect.says && !expect.says.test(status.message)) return `says: ${status.message}`
  return ''
}

function judgeSuccess(message: Plain, expect: Expected, isOurs: boolean): string {
  const partial = (message.partialSuccess ?? {}) as Plain // parsed from JSON or by the oracle
  const rejected = partial.rejectedSpans ?? '0'
  if (typeof rejected !== 'string')
    return 'rejectedSpans is not text, as JSON asks of 64-bit integers'
  const says = String(partial.errorMessage ?? '')
  if (Number(rejected) !== (expect.rejected ?? 0))
    return `rejectedSpans ${rejected}, not ${expect.rejected ?? 0}: ${says}`
  if (expect.form === 'full' && Object.keys(message).length > 0)
    return `not an empty message: ${JSON.stringify(message)}`
  if (expect.form === 'partial' && says === '') return 'a partial success without a message'
  if (!isOurs) return ''
  if (expect.form === 'warning' && says === '') return 'no warning'
  return expect.says && !expect.says.test(says) ? `says: ${says}` : ''
}

/** What the case's trace holds now, against what it should. */
async function readBack(one: Case, client: Client): Promise<string> {
  const { status, stored, reads } = one.row.expect
  const wanted = stored ?? (status === 200 ? undefined : 0)
  if (wanted === undefined && !reads) return ''
  const limit = (wanted ?? 1) + 1
  const { body } = await client.get(
    `/v1/otlp/export?format=json&limit=${limit}&trace_id=${one.fresh.traceId}`,
  )
  const spans = spansOf(body)
  if (wanted !== undefined && spans.length !== wanted)
    return `${spans.length} spans were stored, not ${wanted}`
  if (!reads) return ''
  const [found, right] = [
    JSON.stringify(sorted(reads.of(spans))),
    JSON.stringify(sorted(reads.are)),
  ]
  return found === right ? '' : `reads back ${found}, not ${right}`
}

function spansOf(body: Plain): Plain[] {
  const list = (value: unknown): Plain[] => (Array.isArray(value) ? value : [])
  return list(body.resourceSpans).flatMap((resource) =>
    list(resource.scopeSpans).flatMap((scope) => list(scope.spans)),
  )
}

/** With keys in order, so that two ways of writing one value compare equal. */
function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(
    Object.entries(value)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, inner]) => [key, sorted(inner)]),
  )
}
