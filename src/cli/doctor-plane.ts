// A plane that runs already: asked how it is, rather than measured under its feet.

import type { Settings } from '../../schemas/settings.ts'
import type { Finding } from './doctor-finding.ts'

const deadlineMs = 5_000
// Rows wait two seconds for company; beyond this something keeps them.
const lagMsMax = 30_000

type Health = {
  version: string
  engines: Record<string, string>
  db: string
  spool: {
    status: string
    reason?: string
    undrainedRows: number
    oldestUndrainedMs: number
    quarantineBytes: number
    lastError?: string
  }
}

/** Undefined when nobody listens there, or somebody else does. */
export async function aboutPlane({ host, port }: Settings): Promise<Finding | undefined> {
  const health = await askHealth(`http://${host.includes(':') ? `[${host}]` : host}:${port}`)
  if (!health) return undefined
  const { version, engines, db, spool } = health
  const wrong: string[] = []
  for (const [engine, state] of Object.entries(engines))
    if (state !== 'external' && state !== 'ready') wrong.push(`${engine} is ${state}`)
  if (db !== 'ok') wrong.push('Postgres does not answer')
  if (spool.status !== 'ready') wrong.push(`the spool is ${spool.reason ?? spool.status}`)
  if (spool.oldestUndrainedMs > lagMsMax)
    wrong.push(
      `rows have waited ${Math.round(spool.oldestUndrainedMs / 1_000)} s for ClickHouse (${spool.lastError ?? 'no error'})`,
    )
  if (spool.quarantineBytes > 0) wrong.push('rows lie in quarantine: runledger quarantine list')
  const says = `Version ${version} runs here; ${spool.undrainedRows} rows on their way.`
  if (wrong.length === 0) return { name: 'plane', outcome: 'ok', says }
  return { name: 'plane', outcome: 'warn', says: `${says} But ${wrong.join('; ')}.` }
}

async function askHealth(url: string): Promise<Health | undefined> {
  try {
    const response = await fetch(`${url}/healthz`, { signal: AbortSignal.timeout(deadlineMs) })
    const body = (await response.json()) as Partial<Health> | null // looked at before it is believed
    return body?.version !== undefined && body.engines && body.spool ? (body as Health) : undefined
  } catch {
    return undefined
  }
}
