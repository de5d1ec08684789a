// Which version is in force: promote, roll back, pin, canary. Each is a compare-and-swap on the registry's row and an event.

import { Fault } from '../../schemas/faults.ts'
import { parsePromptVersionId } from '../../schemas/ids.ts'
import { toVersion } from '../../schemas/prompt.ts'
import type { Canary } from '../../schemas/prompt-history.ts'
import type { Sql } from '../accounts/keys.ts'
import type { Postgres } from '../stores/postgres.ts'
import { type Because, changeRegistry, type Held } from './history.ts'
import {
  findVersion,
  type RegistryAt,
  type RegistryFacts,
  setVersionStatus,
  type VersionAt,
  type VersionFacts,
} from './rows.ts'

/** Statuses that experiments give; being in force, rolled back or retired follows from the moves below. */
export type ExperimentStatus =
  | 'observed'
  | 'candidate'
  | 'replaying'
  | 'passed'
  | 'failed'
  | 'inconclusive'
  | 'shadow'
  | 'canary'

/** `conflict`: another version is in force than was expected. `refused`: a rule stands against it, as the sentence says. */
export type Moved =
  | { outcome: 'moved'; present: string | null }
  | { outcome: 'conflict'; present: string | null }
  | { outcome: 'refused'; present: string | null; why: string }

/** Written in the transaction of the move that was made: both become true, or neither. What it throws undoes the move. */
export type Beside = (sql: Sql) => Promise<void>

export type Promotion = RegistryAt &
  Because & {
    version: string
    /** The version in force that the decision was made against; null for none; undefined: whatever it is. */
    expected?: string | null | undefined
    beside?: Beside
  }

/** A version in force becomes another. Throws `not_found` for a registry or version that is not there. */
export function promote(postgres: Postgres, given: Promotion): Promise<Moved> {
  return changeRegistry(postgres, given, async ({ sql, registry, tell }) => {
    const { state } = registry
    const version = await getVersion(sql, given)
    const present = state.promoted
    if (given.expected !== undefined && given.expected !== present)
      return { outcome: 'conflict', present }
    if (present === given.version) {
      await given.beside?.(sql)
      return { outcome: 'moved', present }
    }
    const why = refusalOf(registry, version, given.actor.kind)
    if (why !== undefined) return { outcome: 'refused', present, why }
    await tell({ type: 'promoted', version: given.version, from: present }, given)
    await setVersionStatus(sql, given, 'promoted')
    const replaced = present ?? state.baseline
    if (replaced !== null && replaced !== given.version)
      await setVersionStatus(sql, { ...given, version: replaced }, 'retired')
    await given.beside?.(sql)
    return { outcome: 'moved', present: given.version }
  })
}

function refusalOf(
  { state, registry }: RegistryFacts,
  version: VersionFacts,
  by: 'person' | 'machine',
): string | undefined {
  const name = version.versionId
  if (version.mergedInto !== null)
    return `${name} was found to be the same prompt as ${version.mergedInto}.`
  if (state.pinned !== null && state.pinned !== version.version)
    return `${registry} is pinned to ${registry}@${state.pinned}; take the pin out first.`
  if (version.status === 'retired')
    return `${name} is retired: it was in force before and was replaced. Roll back to it instead.`
  if (state.mode === 'serve' && version.content?.kind !== 'declared')
    return `${name} was not declared, so there is no template of it to serve.`
  if (by === 'machine' && state.heldBack.includes(version.version))
    return `${name} was taken out of force by a person.`
  return undefined
}

export type Rollback = RegistryAt & Because & { to?: string | undefined; beside?: Beside }

/** Back to the version that was in force before, or to the one that is named. */
export function rollback(postgres: Postgres, given: Rollback): Promise<Moved> {
  return changeRegistry(postgres, given, async ({ sql, registry, tell }) => {
    const { state } = registry
    const present = state.promoted
    if (given.to !== undefined) await getVersion(sql, { ...given, version: given.to })
    const refused = (why: string): Moved => ({ outcome: 'refused', present, why })
    if (present === null)
      return refused('No version is in force, so there is none to roll back from.')
    const to = given.to ?? state.earlier.at(-1) ?? otherThan(state.baseline, present)
    if (to === null)
      return refused(`No version was in force before ${registry.registry}@${present}.`)
    if (to === present) return refused(`${registry.registry}@${to} is in force already.`)
    if (state.pinned !== null && state.pinned !== to)
      return refused(
        `${registry.registry} is pinned to ${registry.registry}@${state.pinned}; take the pin out first.`,
      )
    if (given.actor.kind === 'machine' && state.promotedBy === 'person')
      return refused(`${registry.registry}@${present} was put in force by a person.`)
    const target = await getVersion(sql, { ...given, version: to })
    if (target.mergedInto !== null)
      return refused(`${target.versionId} was found to be the same prompt as ${target.mergedInto}.`)
    if (state.mode === 'serve' && target.content?.kind !== 'declared')
      return refused(
        `${target.versionId} was not declared, so there is no template of it to serve.`,
      )
    await tell({ type: 'rolled_back', version: to, from: present }, given)
    await setVersionStatus(sql, { ...given, version: present }, 'rolled_back')
    await setVersionStatus(sql, { ...given, version: to }, 'promoted')
    await given.beside?.(sql)
    return { outcome: 'moved', present: to }
  })
}

function otherThan(version: string | null, other: string): string | null {
  return version === other ? null : version
}

export type Pin = RegistryAt & Because & { version: string | null }

/** Holds a version in force: nothing else is promoted until the pin is out. One that is not in force is put in force first. */
export function pin(postgres: Postgres, given: Pin): Promise<Moved> {
  return changeRegistry(postgres, given, async ({ sql, registry, tell }) => {
    const { state } = registry
    const { version } = given
    if (version === null) {
      if (state.pinned !== null) await tell({ type: 'unpinned', version: state.pinned }, given)
      return { outcome: 'moved', present: state.promoted }
    }
    const target = await getVersion(sql, { ...given, version })
    if (version !== state.promoted) {
      // A pin on a retired version is how a person holds on to it.
      const free: RegistryFacts = { ...registry, state: { ...state, pinned: null } }
      const why = refusalOf(
        free,
        { ...target, status: target.status === 'retired' ? 'passed' : target.status },
        given.actor.kind,
      )
      if (why !== undefined) return { outcome: 'refused', present: state.promoted, why }
      await tell({ type: 'promoted', version, from: state.promoted }, given)
      await setVersionStatus(sql, { ...given, version }, 'promoted')
      const replaced = state.promoted ?? state.baseline
      if (replaced !== null && replaced !== version)
        await setVersionStatus(sql, { ...given, version: replaced }, 'retired')
    }
    if (state.pinned !== version) await tell({ type: 'pinned', version }, given)
    return { outcome: 'moved', present: version }
  })
}

export type CanaryMove = RegistryAt &
  Because & {
    canary: Canary | null
    /** Whose move it is, and its status from now on: a share that another version has by now is not taken away. */
    candidate?: { version: string; status: ExperimentStatus }
    beside?: Beside
  }

/** Gives a share of the served traffic to a candidate, or takes it away. */
export function moveCanary(postgres: Postgres, given: CanaryMove): Promise<Moved> {
  return changeRegistry(postgres, given, async ({ sql, registry, tell }) => {
    const { state } = registry
    const { canary, candidate } = given
    if (canary !== null) {
      const version = await getVersion(sql, { ...given, version: canary.version })
      const why =
        state.mode === 'observe'
          ? `${registry.registry} is only observed: there is no traffic to share out.`
          : refusalOf(registry, version, given.actor.kind)
      if (why !== undefined) return { outcome: 'refused', present: state.promoted, why }
    }
    const isOurs = candidate === undefined || state.canary?.version === candidate.version
    if (canary !== null || (state.canary !== null && isOurs))
      await tell({ type: 'canary', canary }, given)
    if (candidate) await tellStatus({ sql, registry, tell }, { ...given, ...candidate })
    await given.beside?.(sql)
    return { outcome: 'moved', present: state.promoted }
  })
}

/** Within the change under way. What is in force is said by the moves; a late verdict does not unsay it. */
export async function tellStatus(
  { sql, registry, tell }: Held,
  given: VersionAt & Because & { status: ExperimentStatus },
): Promise<void> {
  const { version, status } = given
  const found = await getVersion(sql, given)
  if (found.status === status || registry.state.promoted === version) return
  await tell({ type: 'status', version, status }, given)
  await setVersionStatus(sql, given, status)
}

async function getVersion(sql: Sql, at: RegistryAt & { version: string }): Promise<VersionFacts> {
  const found = await findVersion(sql, at)
  if (!found)
    throw new Fault('not_found', {
      message: `There is no version ${at.registry}@${at.version}.`,
      param: 'version',
    })
  return found
}

/** A version's own name from `v2`, `2` or `support@v2`; throws when it is of another registry or no name. */
export function readVersionName(given: string, registry: string): string {
  const named = parsePromptVersionId(given)
  if (named && named.slug !== registry)
    throw new Fault('invalid_request', {
      message: `${given} is not a version of ${registry}.`,
      param: 'version',
    })
  const version = named?.version ?? toVersion(given)
  if (version === undefined || given.includes('@') !== (named !== undefined))
    throw new Fault('invalid_request', { message: `${given} names no version.`, param: 'version' })
  return version
}
