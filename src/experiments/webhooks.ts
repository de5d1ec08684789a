// Webhooks that wait in Postgres until they are taken: written with what they tell of, sent again later and later, given up in the end.

import type { Outbound } from '../../collectors/proxy/outbound.ts'
import type { ExperimentRow } from '../../replay/experiment.ts'
import { newId, toUuid } from '../../schemas/ids.ts'
import type { Ledger } from '../records/ledger.ts'
import { repeatEvery } from '../repeat.ts'
import type { Postgres } from '../stores/postgres.ts'
import { getUuid } from './rows.ts'
import { type Delivery, sendWebhook } from './webhook-send.ts'

const sendEveryMs = 2_000
const atOnceMax = 10
// Seconds until the next attempt; after the last it is given up, some nine hours later.
const waitsS = [5, 30, 120, 600, 1_800, 7_200, 21_600] as const
// Longer than an attempt can take: whoever died with one leaves it to another process.
const claimS = 30

export type WebhookDeps = {
  postgres: Postgres
  outbound: Outbound
  ledger: Pick<Ledger, 'current' | 'findPrivateKey'>
  nowMs: () => number
  log: (line: string) => void
}

export type Webhooks = {
  /** Writes it down; the same event of an experiment again changes nothing. */
  tell(row: ExperimentRow, event: string, url: string): Promise<void>
  start(): void
  close(): Promise<void>
}

export function openWebhooks(deps: WebhookDeps): Webhooks {
  const { postgres, ledger } = deps
  const stopping = new AbortController()
  let stop: () => Promise<void> = async () => {}

  async function sendDue(): Promise<void> {
    const { key_id: keyId } = ledger.current()
    const privateKey = await ledger.findPrivateKey(keyId)
    if (privateKey === undefined) return
    const due = await postgres.query<Due>(takeSql, [atOnceMax, claimS])
    await Promise.all(
      due.map(async ({ webhook_id: id, attempts, url, body }) => {
        const given = { ...deps, isTrusted: false, signal: stopping.signal }
        const delivery = await sendWebhook(given, { id, url, body }, { keyId, privateKey })
        await settle(id, attempts, delivery)
      }),
    )
  }

  async function settle(id: string, attempts: number, delivery: Delivery): Promise<void> {
    const waitS = waitsS[attempts - 1]
    const isOver = delivery.outcome === 'dead' || waitS === undefined
    const status = delivery.outcome === 'delivered' ? 'delivered' : isOver ? 'given_up' : 'waiting'
    await postgres.query(
      `UPDATE webhooks SET status = $2, last_error = $3, due_at = now() + make_interval(secs => $4) WHERE webhook_id = $1`,
      [id, status, delivery.outcome === 'delivered' ? null : delivery.why, waitS ?? 0],
    )
  }

  return {
    async tell(row, event, url) {
      await postgres.query(
        `INSERT INTO webhooks (webhook_id, workspace, experiment_id, event, url, body) VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (experiment_id, event) DO NOTHING`,
        [
          toUuid(newId()),
          row.workspace,
          getUuid(row.experimentId),
          event,
          url,
          JSON.stringify(bodyOf(row, event, new Date(deps.nowMs()))),
        ],
      )
    },
    start() {
      const repeated = repeatEvery(sendEveryMs, sendDue, (error) => {
        if (!stopping.signal.aborted) deps.log(`webhooks, trying again: ${String(error)}`)
      })
      stop = () => repeated.stop()
    },
    async close() {
      stopping.abort()
      await stop()
    },
  }
}

type Due = { webhook_id: string; attempts: number; url: string; body: string }

const takeSql = `UPDATE webhooks SET attempts = attempts + 1, due_at = now() + make_interval(secs => $2)
  WHERE webhook_id IN (SELECT webhook_id FROM webhooks WHERE status = 'waiting' AND due_at <= now()
    ORDER BY due_at LIMIT $1 FOR UPDATE SKIP LOCKED)
  RETURNING webhook_id, attempts, url, body`

function bodyOf(row: ExperimentRow, event: string, at: Date) {
  return {
    type: event,
    timestamp: at.toISOString(),
    data: {
      experiment_id: row.experimentId,
      regression_id: row.regressionId,
      registry_id: row.registryId,
      baseline_prompt_version_id: `${row.registryId}@${row.baseline}`,
      candidate_prompt_version_id: `${row.registryId}@${row.candidate}`,
      status: row.status,
      evidence: row.decision?.evidence ?? null,
      sample_count: row.decision?.sampleCount ?? 0,
      fail_count: row.decision?.failCount ?? 0,
      summary: row.reason,
      preregistration_hash: row.registered?.hash ?? null,
    },
  }
}
