// The ids of a posted run. A run that names itself always gets the same ones, so that sending it again changes nothing.
// Derived with a secret of this installation, because a record's id must not be guessable from a run's.

import { createHmac } from 'node:crypto'
import {
  type Id,
  newId,
  parsePrefixed,
  parseSpanId,
  parseTraceId,
  type SpanId,
  type TraceId,
} from '../../schemas/ids.ts'
import { newSpanId, newTraceId } from '../proxy/trace-context.ts'
import type { PostedRun } from './posted-run.ts'

export type RunIds = { runId: Id; recordId: Id; traceId: TraceId; spanId: SpanId }

/** `secret`: at least 32 bytes, the same for every process of an installation and for all time. */
export function idsOf(workspace: string, posted: PostedRun, secret: Uint8Array): RunIds {
  const traceId = posted.trace_id ? parseTraceId(posted.trace_id) : undefined
  const spanId = posted.span_id ? parseSpanId(posted.span_id) : undefined
  const name = posted.run_id
  if (!name) {
    return {
      runId: newId(),
      recordId: newId(),
      traceId: traceId ?? newTraceId(),
      spanId: spanId ?? newSpanId(),
    }
  }
  const ours = parsePrefixed('run', name)
  // Two spellings of one of our own ids are one run.
  const key = `${workspace}\0${ours ? `run_${Buffer.from(ours).toString('hex')}` : name}`
  const derive = (what: string) =>
    createHmac('sha256', secret).update(`runledger/run/v1/${what}\0${key}`).digest()
  return {
    runId: ours ?? toId(derive('run')),
    recordId: toId(derive('record')),
    traceId: traceId ?? (derive('trace').toString('hex', 0, 16) as TraceId), // never all zero, but once in 2^128
    spanId: spanId ?? (derive('span').toString('hex', 0, 8) as SpanId), // never all zero, but once in 2^64
  }
}

/** A UUIDv8 (RFC 9562): sixteen bytes of our own making, here of a hash. */
function toId(digest: Buffer): Id {
  const id = new Uint8Array(digest.subarray(0, 16))
  id[6] = (id[6]! & 0x0f) | 0x80
  id[8] = (id[8]! & 0x3f) | 0x80
  return id as Id // sixteen bytes
}
