// A failure of a store, as the caller is told it: away for a moment is 503 and may be tried again, anything else is our mistake.

import { Fault, toFault } from '../../schemas/faults.ts'
import { ClickhouseError } from '../stores/clickhouse.ts'
import { sqlState } from '../stores/postgres.ts'

// SQLSTATE classes of a server that is starting, stopping, full of connections, or past its statement's time; and of a
// transaction that was undone because another was in its way.
const passingStates = /^(08|40|53|57)/
const passingCodes = new Set(['ECONNREFUSED', 'ECONNRESET', 'EPIPE', 'ENOENT', 'ETIMEDOUT'])

// More rows to read, or to answer, than one question may have.
const tooMuch = new Set([158, 396])
const asksTooMuch = 'This asks for more than one question may. Narrow it by time or by a filter.'

/** The fault itself, or `service_unavailable` for a store that is away, or `internal`; the cause stays with us. */
export function toAnswerable(error: unknown): Fault {
  if (error instanceof ClickhouseError && tooMuch.has(error.code ?? 0))
    return new Fault('invalid_request', { message: asksTooMuch }, { cause: error })
  return isPassing(error) ? new Fault('service_unavailable', {}, { cause: error }) : toFault(error)
}

function isPassing(error: unknown): boolean {
  if (error instanceof ClickhouseError) return error.transient
  const state = sqlState(error)
  if (state !== undefined) return passingStates.test(state)
  if (!(error instanceof Error)) return false
  const code = 'code' in error ? error.code : undefined
  // node-postgres names a connection that broke, one that was not to be had and an answer that never came in words only.
  return (
    passingCodes.has(String(code)) ||
    /^(Connection terminated|timeout exceeded when trying to connect|Query read timeout)/.test(
      error.message,
    )
  )
}
