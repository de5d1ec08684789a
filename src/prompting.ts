// Everything about prompts, opened together: the names that traffic gives, the registry behind them, and their routes.

import type Router from '@koa/router'
import { redactionBy } from '../collectors/redact.ts'
import { promptRoutes } from './api/prompts.ts'
import type { LiveConfig } from './config.ts'
import type { Metrics } from './metrics.ts'
import { type Discovering, openDiscovering } from './registry/discovering.ts'
import { openPrompts, type Prompts } from './registry/prompts.ts'
import { openRegistry, type Registry } from './registry/registry.ts'
import { openStoredCalls } from './registry/stored-calls.ts'
import type { Clickhouse } from './stores/clickhouse.ts'
import type { Postgres } from './stores/postgres.ts'
import type { Watermark } from './stores/watermark.ts'
import type { StoredSpans } from './traces/stored-spans.ts'

export type Prompting = {
  links: Prompts
  registry: Registry
  discovering: Discovering
  close(): Promise<void>
}

export async function openPrompting(
  router: Router,
  deps: {
    postgres: Postgres
    clickhouse: Clickhouse
    metrics: Metrics
    log: (line: string) => void
    flush: () => Promise<void>
    storedSpans: Pick<StoredSpans, 'ofSpans'>
    watermark: Pick<Watermark, 'loadedBefore'>
    config: LiveConfig
  },
): Promise<Prompting> {
  const { postgres, clickhouse, metrics, log, flush } = deps
  const links = await openPrompts({ sql: postgres, rows: clickhouse, counters: metrics, log })
  const registry = await openRegistry({ postgres, counters: metrics, log })
  const runs = {
    query: clickhouse.query,
    change: (q: { sql: string; params: Record<string, unknown> }) =>
      clickhouse.command(q.sql, { params: q.params }),
  }
  const discovering = openDiscovering({
    ...{ postgres, runs, registry, counters: metrics, log },
    stored: openStoredCalls({
      rows: clickhouse,
      storedSpans: deps.storedSpans,
      loadedBefore: deps.watermark.loadedBefore,
    }),
    redact: redactionBy(deps.config.current).text,
  })
  metrics.gauge('prompt_discovery_leads', () => Number(discovering.leads()))
  metrics.gauge('prompt_observations_waiting', discovering.waiting)
  metrics.gauge('prompt_following_lag_seconds', () => discovering.lagMs() / 1_000)
  promptRoutes(router, { prompts: links, registry, flush })
  return {
    links,
    registry,
    discovering,
    async close() {
      await discovering.close()
      await links.close()
      await registry.close()
    },
  }
}
