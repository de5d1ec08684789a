// The headers every inference answer carries once its call is admitted, whatever became of it.

import { toPrefixed } from '../../schemas/ids.ts'
import type { SignedRecord } from '../../schemas/record.ts'
import type { Call } from './call.ts'
import { toTraceparent } from './trace-context.ts'

// No browser reads a header that is not listed here.
export const exposed = [
  'traceparent',
  'X-Request-Id',
  'X-Upstream-Request-Id',
  'X-BatchIn-Run-Id',
  'X-BatchIn-Route-Id',
  'X-BatchIn-Provider',
  'X-BatchIn-Environment',
  'X-BatchIn-Prompt-Version',
  'X-BatchIn-Capture',
  'X-BatchIn-Cache',
  'Idempotent-Replayed',
  'X-VaaS-Record-Id',
  'X-VaaS-PublicKey',
  'X-VaaS-Signature',
  'X-VaaS-Key-Id',
  'X-VaaS-Phase',
].join(', ')

/**
 * Names and values in turn, for `writeHead` once `addTiming` has added what is known only then. `signed`: the opening record on a
 * stream, else the final one, durable before these leave; without one (the spool failed) there is no signature to show.
 */
export function receiptHeaders(
  call: Call,
  signed: SignedRecord | undefined,
  upstreamRequestId: string | null,
): string[] {
  const { route, trace } = call
  const headers = [
    'traceparent',
    toTraceparent(trace.traceId, call.spanId, trace.flags),
    'X-Request-Id',
    call.requestId,
    'X-BatchIn-Run-Id',
    toPrefixed('run', call.runId),
    'X-BatchIn-Route-Id',
    route.public ? route.id : route.label,
    'X-BatchIn-Environment',
    call.environment,
    'X-BatchIn-Prompt-Version',
    call.prompt?.versionId ?? 'default',
    'X-VaaS-Record-Id',
    toPrefixed('vaas', call.recordId),
    'X-VaaS-PublicKey',
    call.signer.publicKey,
    'X-VaaS-Key-Id',
    signed?.keyId ?? call.signer.keyId,
    'Access-Control-Expose-Headers',
    exposed,
    'X-Content-Type-Options',
    'nosniff',
  ]
  if (route.public) headers.push('X-BatchIn-Provider', call.provider)
  if (signed)
    headers.push('X-VaaS-Signature', toSignatureText(signed), 'X-VaaS-Phase', signed.phase)
  if (call.grant) headers.push(...call.grant.headers)
  if (call.isCacheHit) headers.push('X-BatchIn-Cache', 'hit')
  if (call.isDropped) headers.push('X-BatchIn-Capture', 'dropped')
  if (upstreamRequestId !== null) headers.push('X-Upstream-Request-Id', upstreamRequestId)
  return headers
}

/** The head leaves now: what of its time was ours, for its reader and for the meters. */
export function addTiming(headers: string[], call: Call): void {
  const gatewayMs = gatewayTime(call)
  headers.push('Server-Timing', `gw;dur=${gatewayMs.toFixed(2)}`)
  call.deps.meters?.headLeft(call, gatewayMs)
}

/** What of the time until now was not spent waiting for an upstream: of a stream, for its first byte; else for all of it. */
function gatewayTime(call: Call): number {
  const { askedTick, answeredTick, endedTick } = call
  const upToNow = performance.now()
  const waited = askedTick === undefined ? 0 : (endedTick ?? answeredTick ?? upToNow) - askedTick
  return Math.max(0, upToNow - call.startedTick - waited)
}

/** `ed25519:` and the unpadded base64url of the 64 bytes. */
export function toSignatureText(signed: SignedRecord): string {
  return `ed25519:${Buffer.from(signed.signature).toString('base64url')}`
}

/** The comment line that closes a stream's receipt, without its line ending. */
export function closingComment(signed: SignedRecord, status: string): string {
  const receipt = {
    record_id: toPrefixed('vaas', signed.recordId),
    phase: signed.phase,
    status,
    output_hash: signed.outputHash,
    signature: toSignatureText(signed),
    key_id: signed.keyId,
  }
  return `: vaas ${JSON.stringify(receipt)}`
}
