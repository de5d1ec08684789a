// What was set aside and is to be loaded again, because somebody has mended what it was refused for.
// Law: it leaves the quarantine only when ClickHouse has it; its token is the one it was refused under, so a crash doubles nothing.

import { createHash } from 'node:crypto'
import { type TableName, tables } from '../../schemas/tables.ts'
import { isBefore } from './chunk.ts'
import { type DeliveryDeps, insertOrRefuse, Stopped } from './deliver.ts'
import { reasonOf } from './limits.ts'
import type { Entry } from './quarantine.ts'
import type { Shelf } from './shelf.ts'

export type AgainDeps = DeliveryDeps & { shelf: Pick<Shelf, 'cursor'> }

export class Again {
  readonly #deps: AgainDeps
  #working: Promise<void> | undefined
  #loading: Promise<void> | undefined
  #holds = 0

  constructor(deps: AgainDeps) {
    this.#deps = deps
    deps.quarantine.onMarked = (names) => this.#begin(names)
  }

  /** Resolves when nothing is under way any more; abort the `stop` signal first. */
  async settled(): Promise<void> {
    this.#deps.quarantine.onMarked = undefined
    await this.#working
  }

  /**
   * Resolves when nothing is being loaded; nothing is until the function given is called. For who deletes: rows on their way from
   * here would come into ClickHouse behind the deletion.
   */
  async hold(): Promise<() => void> {
    this.#holds += 1
    await this.#loading?.catch(() => {})
    return () => {
      this.#holds -= 1
    }
  }

  /** One after another; marks that come meanwhile are seen at the next look. */
  #begin(names: readonly string[]): void {
    this.#working ??= this.#loadAll(names)
      .catch((error) => {
        if (!(error instanceof Stopped)) this.#deps.onTrouble(error)
      })
      .finally(() => {
        this.#working = undefined
      })
  }

  async #loadAll(names: readonly string[]): Promise<void> {
    for (const name of names) {
      if (this.#holds > 0) return
      this.#loading = this.#loadMarked(name)
      await this.#loading
    }
  }

  async #loadMarked(name: string): Promise<void> {
    const { quarantine, shelf } = this.#deps
    const entry = await quarantine.find(name)
    // Without its reason it was loaded, or dropped, by a process that did not live to remove the rest.
    if (!entry) await quarantine.remove(name)
    // The drain that set it aside has not passed it yet, and would set it aside once more.
    else if (isBefore(entry.facts, shelf.cursor)) await this.#load(entry)
  }

  async #load({ name, facts }: Entry): Promise<void> {
    const { quarantine, counters, log } = this.#deps
    const { table, rows = 0 } = facts
    const bytes = await quarantine.read(name)
    if (!isTable(table) || !bytes) {
      const reason = `${facts.reason} (these bytes are no rows that could be loaded)`
      await quarantine.keep(name, { ...facts, reason })
      return
    }
    const token = facts.token ?? tokenFor(name, bytes)
    const refused = await insertOrRefuse(this.#deps, { table, rows, body: [bytes], token })
    if (refused === undefined) {
      counters.count('spool_reloaded_rows_total', { table }, rows)
      log('info', 'Rows of the quarantine were loaded', { name, table, rows })
      await quarantine.remove(name)
      return
    }
    const reason = reasonOf(refused)
    log('error', 'ClickHouse refused rows of the quarantine again', { name, table, rows, reason })
    await quarantine.keep(name, { ...facts, token, reason })
  }
}

function isTable(name: string | undefined): name is TableName {
  return name !== undefined && Object.hasOwn(tables, name)
}

/** Of what an earlier version set aside, which wrote no token. */
function tokenFor(name: string, bytes: Buffer): string {
  return `again:${name}:${createHash('sha256').update(bytes).digest('hex').slice(0, 16)}`
}
