// Prompts as the API sends them, read once at the door like everything else (wire.ts).

import { type Json, list, number, object, text, textOr } from './wire.ts'

export type PromptVersion = {
  versionId: string
  status: string
  totalRuns: number | null
  firstSeenAt: string | null
  lastSeenAt: string | null
  contentHash: string | null
  conflict: boolean
}

export type Registry = {
  registryId: string
  displayName: string
  source: string
  mode: string
  /** `routing`: a promotion decides what answers. */
  promotionEffect: string
  promotedVersionId: string | null
  baselineVersionId: string | null
  pinnedVersionId: string | null
  latestVersionId: string | null
  canary: { versionId: string; share: number } | null
  flooded: boolean
  totalRuns: number | null
  versions: PromptVersion[]
}

export type DiffLine = { kind: string; text: string }
/** `same` null: too little is known of one of the versions. */
export type DiffPart = { name: string; same: boolean | null; lines: DiffLine[] | null }

export type HistoryEvent = {
  seq: number
  at: string
  type: string
  versionId: string | null
  fromId: string | null
  intoId: string | null
  actor: { kind: string; id: string }
  reason: string
  evidence: unknown
  hash: string
  more: Json
}

export type History = { items: HistoryEvent[]; next: string | null }

export function readPrompts(body: unknown): Registry[] {
  return list(object(body).items).map(readRegistry)
}

export function readRegistry(body: unknown): Registry {
  const from = object(body)
  const canary = object(from.canary)
  const canaryId = textOr(canary.version_id)
  return {
    registryId: text(from.registry_id),
    displayName: text(from.display_name),
    source: text(from.source),
    mode: text(from.mode),
    promotionEffect: text(from.promotion_effect),
    promotedVersionId: textOr(from.promoted_version_id),
    baselineVersionId: textOr(from.baseline_version_id),
    pinnedVersionId: textOr(from.pinned_version_id),
    latestVersionId: textOr(from.latest_version_id),
    canary: canaryId === null ? null : { versionId: canaryId, share: number(canary.share) ?? 0 },
    flooded: from.flooded === true,
    totalRuns: number(from.total_runs),
    versions: list(from.versions).map(object).map(readVersion),
  }
}

function readVersion(from: Json): PromptVersion {
  return {
    versionId: text(from.version_id),
    status: text(from.status),
    totalRuns: number(from.total_runs),
    firstSeenAt: textOr(from.first_seen_at),
    lastSeenAt: textOr(from.last_seen_at),
    contentHash: textOr(from.content_hash),
    conflict: from.conflict === true,
  }
}

export function readDiff(body: unknown): DiffPart[] {
  return Object.entries(object(object(body).parts)).map(([name, value]) => {
    const part = object(value)
    const lines = Array.isArray(part.lines) ? part.lines.map(object) : null
    return {
      name,
      same: typeof part.same === 'boolean' ? part.same : null,
      lines: lines?.map((line) => ({ kind: text(line.kind), text: text(line.text) })) ?? null,
    }
  })
}

export function readHistory(body: unknown): History {
  const from = object(body)
  return { items: list(from.items).map(object).map(readEvent), next: textOr(from.next_cursor) }
}

function readEvent(from: Json): HistoryEvent {
  const { seq, at, type, version_id, from_id, into_id, actor, reason, evidence, hash, ...rest } =
    from
  const { previous_hash: _, ...more } = rest
  return {
    seq: number(seq) ?? 0,
    at: text(at),
    type: text(type),
    versionId: textOr(version_id),
    fromId: textOr(from_id),
    intoId: textOr(into_id),
    actor: { kind: text(object(actor).kind), id: text(object(actor).id) },
    reason: text(reason),
    evidence: evidence ?? null,
    hash: text(hash),
    more,
  }
}
