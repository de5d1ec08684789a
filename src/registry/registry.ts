// The prompt registry as the rest of the plane calls it: versions and what they are made of, what is in force, who is told.

import type { Counters } from '../../schemas/counters.ts'
import type { DiscoveryEvent } from '../../schemas/discovery.ts'
import { Fault } from '../../schemas/faults.ts'
import type { PromptServing } from '../../schemas/prompt.ts'
import type { Declaration } from '../../schemas/prompt-content.ts'
import type { PromptEvent } from '../../schemas/prompt-history.ts'
import {
  type PolicyChoices,
  type PromptMode,
  type PromptPolicy,
  policyInForce,
} from '../../schemas/prompt-policy.ts'
import type { Sql } from '../accounts/keys.ts'
import type { Postgres } from '../stores/postgres.ts'
import { type Declared, declare } from './declare.ts'
import {
  type Because,
  changeRegistry,
  checkHistory,
  type HistoryCheck,
  listEvents,
} from './history.ts'
import {
  type CanaryMove,
  type ExperimentStatus,
  type Moved,
  moveCanary,
  type Promotion,
  pin,
  promote,
  type Rollback,
  rollback,
  tellStatus,
} from './promotion.ts'
import { type Message, type Rerendered, type RerenderFailure, rerender } from './rerender.ts'
import {
  findRegistry,
  findVersion,
  listVersions,
  type RegistryAt,
  type RegistryFacts,
  toVersion,
  type VersionAt,
  type VersionFacts,
} from './rows.ts'
import { openServing } from './serving.ts'

/** A version of which enough is known to replay runs with it. */
export type StableVersion = VersionAt & { versionId: string; isBaseline: boolean }

export type Registry = PromptServing & {
  findRegistry(at: RegistryAt): Promise<RegistryFacts | undefined>
  findVersion(at: VersionAt): Promise<VersionFacts | undefined>
  listVersions(at: RegistryAt): Promise<VersionFacts[]>
  /** With every default filled in, and the mode it is for. Undefined for a registry that is not there. */
  policyOf(
    at: RegistryAt,
  ): Promise<{ policy: PromptPolicy; mode: PromptMode; flooded: boolean } | undefined>
  declare(at: RegistryAt, given: Declaration & Because): Promise<Declared>
  promote(given: Promotion): Promise<Moved>
  rollback(given: Rollback): Promise<Moved>
  /** `version: null` takes the pin out. */
  pin(given: RegistryAt & Because & { version: string | null }): Promise<Moved>
  /** The share of served traffic that a candidate gets, sticky by session, user or trace; null: none. */
  setCanary(given: CanaryMove): Promise<Moved>
  setStatus(given: VersionAt & Because & { status: ExperimentStatus }): Promise<void>
  change(given: RegistryAt & Because & RegistryChange): Promise<RegistryFacts>
  /** A flood is over: a person has looked at it. */
  resume(given: RegistryAt & Because): Promise<void>
  history(
    at: RegistryAt,
    page: { before?: number | undefined; limit: number },
  ): Promise<PromptEvent[]>
  /** Is the chain whole, and is the present state what the events fold to? */
  checkHistory(at: RegistryAt): Promise<HistoryCheck>
  /** A past request of `from` as `to` would have sent it. */
  rerender(given: Rerendering): Promise<Rerendered>
  /** Told in this process once a version is stable or declared. After a crash ask `unexamined` for those that were missed. */
  onStable(listener: (version: StableVersion) => void): () => void
  /** Stable versions of all workspaces that no experiment has touched: neither baseline nor in force, status `observed`. */
  unexamined(limit: number): Promise<StableVersion[]>
  /** For discovery, which writes versions of its own. */
  tellStable(version: StableVersion): Promise<void>
  close(): Promise<void>
}

export type RegistryChange = {
  displayName?: string | undefined
  mode?: PromptMode | undefined
  /** Members that are named replace those of the present policy; the others stay. */
  policy?: PolicyChoices | undefined
}

export type Rerendering = RegistryAt & {
  from: string
  to: string
  messages: readonly Message[]
  variables?: Readonly<Record<string, string>> | undefined
}

export type { DiscoveryEvent, ExperimentStatus, Rerendered, RerenderFailure }

export async function openRegistry(deps: {
  postgres: Postgres
  counters: Counters
  log: (line: string) => void
}): Promise<Registry> {
  const { postgres, log } = deps
  const serving = await openServing({ sql: postgres, counters: deps.counters, log })
  const listeners = new Set<(version: StableVersion) => void>()

  async function moving<M>(at: RegistryAt, move: Promise<M>): Promise<M> {
    const moved = await move
    await serving.refresh(at)
    return moved
  }

  async function tellStable(version: StableVersion): Promise<void> {
    await serving.refresh(version)
    for (const listener of listeners) listener(version)
  }

  return {
    resolve: serving.resolve,
    findRegistry: (at) => findRegistry(postgres, at),
    findVersion: (at) => findVersion(postgres, at),
    listVersions: (at) => listVersions(postgres, at),
    async policyOf(at) {
      const found = await findRegistry(postgres, at)
      if (!found) return undefined
      const { mode, policy, flooded } = found.state
      return { policy: policyInForce(policy, mode), mode, flooded }
    },
    async declare(at, given) {
      const declared = await declare(postgres, at, given)
      if (declared.isNew)
        await tellStable({
          ...at,
          version: declared.version.version,
          versionId: declared.version.versionId,
          isBaseline: declared.isBaseline,
        })
      return declared
    },
    promote: (given) => moving(given, promote(postgres, given)),
    rollback: (given) => moving(given, rollback(postgres, given)),
    pin: (given) => moving(given, pin(postgres, given)),
    setCanary: (given) => moving(given, moveCanary(postgres, given)),
    setStatus: (given) => changeRegistry(postgres, given, (held) => tellStatus(held, given)),
    change: (given) => moving(given, changeFacts(postgres, given)),
    resume: (given) =>
      changeRegistry(postgres, given, async ({ registry, tell }) => {
        if (registry.state.flooded) await tell({ type: 'resumed' }, given)
      }),
    history: (at, page) => listEvents(postgres, at, page),
    checkHistory: (at) => checkHistory(postgres, at),
    async rerender({ from, to, messages, variables, ...at }) {
      const [old, next] = await Promise.all(
        [from, to].map((version) => findVersion(postgres, { ...at, version })),
      )
      if (!old || !next)
        return {
          ok: false,
          reason: 'no_template',
          detail: `There is no ${old ? to : from} of ${at.registry}.`,
        }
      return rerender({ messages, from: old, to: next, variables })
    },
    onStable(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    unexamined: (limit) => listUnexamined(postgres, limit),
    tellStable,
    close: () => serving.close(),
  }
}

function changeFacts(
  postgres: Postgres,
  given: RegistryAt & Because & RegistryChange,
): Promise<RegistryFacts> {
  const { displayName, mode, policy } = given
  return changeRegistry(postgres, given, async ({ sql, registry, tell }) => {
    let { state } = registry
    if (mode === 'serve') await refuseUnservable(sql, given, state.promoted ?? state.baseline)
    if (displayName !== undefined && displayName !== state.displayName)
      state = await tell({ type: 'renamed', displayName }, given)
    if (mode !== undefined && mode !== state.mode) state = await tell({ type: 'mode', mode }, given)
    if (policy !== undefined)
      state = await tell({ type: 'policy', policy: { ...state.policy, ...policy } }, given)
    return { ...registry, state }
  })
}

/** What is in force when a registry begins to be served must be something that can be sent. */
async function refuseUnservable(sql: Sql, at: RegistryAt, version: string | null): Promise<void> {
  const found = version === null ? undefined : await findVersion(sql, { ...at, version })
  if (found?.content?.kind === 'declared') return
  const what = version === null ? 'Nothing' : `${at.registry}@${version}, which was not declared,`
  throw new Fault('conflict', {
    message: `${what} is in force, so there is nothing to serve. Declare a version and promote it first.`,
    param: 'mode',
  })
}

async function listUnexamined(postgres: Postgres, limit: number): Promise<StableVersion[]> {
  const rows = await postgres.query<Parameters<typeof toVersion>[0]>(
    `SELECT v.* FROM prompt_versions v JOIN prompt_registries r USING (workspace, registry_id)
     WHERE v.status = 'observed' AND v.content_hash IS NOT NULL AND v.merged_into IS NULL AND NOT r.flooded
       AND v.version IS DISTINCT FROM r.baseline AND v.version IS DISTINCT FROM r.promoted
     ORDER BY v.ordinal LIMIT $1`,
    [limit],
  )
  return rows.map((row) => {
    const { workspace, registry, version, versionId } = toVersion(row)
    return { workspace, registry, version, versionId, isBaseline: false }
  })
}
