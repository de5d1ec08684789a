// What a caller is told of an upstream that could not be reached, or not be read.

import { Fault } from '../../schemas/faults.ts'
import type { OutboundError, OutboundErrorKind } from './outbound.ts'

/** What our own side tells a caller about a failure to reach or read the upstream. */
export function faultOf(error: OutboundError): Fault {
  const [code, retry] = faultsByKind[error.kind]
  return code === 'upstream_error'
    ? upstreamFault(error.message, retry, error)
    : new Fault(code, {}, { cause: error })
}

const faultsByKind: Record<
  OutboundErrorKind,
  ['upstream_error' | 'upstream_timeout' | 'service_unavailable', boolean]
> = {
  address_refused: ['upstream_error', false],
  busy: ['service_unavailable', true],
  connect: ['upstream_error', true],
  head_timeout: ['upstream_timeout', true],
  idle_timeout: ['upstream_timeout', true],
  total_timeout: ['upstream_timeout', false],
  too_large: ['upstream_error', false],
  broken: ['upstream_error', true],
  aborted: ['upstream_error', true],
}

/** Without `retry` the SDKs are told not to try again: they would meet the same, at three times the load (C8). */
export function upstreamFault(message: string, retry: boolean, cause?: unknown): Fault {
  const headers = retry ? undefined : { 'x-should-retry': 'false' }
  return new Fault('upstream_error', { message, ...(headers ? { headers } : {}) }, { cause })
}
