// Everything about prompts, opened together: the names that traffic gives, the registry behind them, and their routes.

import type Router from '@koa/router'
import type { Counters } from '../schemas/counters.ts'
import { promptRoutes } from './api/prompts.ts'
import type { Postgres } from './postgres.ts'
import { openPrompts, type Prompts } from './prompts.ts'
import { openRegistry, type Registry } from './registry/registry.ts'
import type { Rows } from './traces.ts'

export type Prompting = {
  links: Prompts
  registry: Registry
  close(): Promise<void>
}

export async function openPrompting(
  router: Router,
  deps: {
    postgres: Postgres
    rows: Rows
    counters: Counters
    log: (line: string) => void
    flush: () => Promise<void>
  },
): Promise<Prompting> {
  const { postgres, flush } = deps
  const links = await openPrompts({ ...deps, sql: postgres })
  const registry = await openRegistry(deps)
  promptRoutes(router, { prompts: links, registry, flush })
  return {
    links,
    registry,
    async close() {
      await links.close()
      await registry.close()
    },
  }
}
