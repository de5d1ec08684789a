// What the plane and the thread of discovery say to each other.

import type { Template } from '../../replay/discovery/template.ts'
import type { DiscoveryEvent, Observation, StableEvent } from '../../schemas/discovery.ts'

/** JSON of tools and response format travels as text: the same text again is not parsed again. */
export type ThreadCall = {
  id: number
  observation: Omit<Observation, 'tools' | 'responseFormat'>
  tools: string | undefined
  responseFormat: string | undefined
}

export type ReservedNames = {
  workspace: string
  registry: string
  isDeclared: boolean
  /** Name and content hash. */
  versions: [string, string][]
}

export type ToThread =
  | { type: 'observe'; calls: ThreadCall[] }
  | { type: 'reserve'; names: ReservedNames[] }
  | { type: 'resume'; workspace: string; registry: string }
  /** Something of the workspace was deleted: no text of it stays. */
  | { type: 'forget'; workspace: string }
  /** Answered by `snapshot`, after everything that was sent before it. */
  | { type: 'snapshot' }

/** A version, and what makes prompts of it as far as that is known now. */
export type LearnedVersion = {
  event: StableEvent
  template: Template | undefined
  tools: unknown
  responseFormat: unknown
}

export type Sight = { id: number; versionId: string | undefined }

export type FromThread =
  /** Versions are told once a prompt can be made with them, and again when it can be made better; `events` are the others. */
  | { type: 'seen'; sights: Sight[]; events: DiscoveryEvent[]; learned: LearnedVersion[] }
  | { type: 'snapshot'; bytes: Uint8Array; learned: LearnedVersion[] }
  /** The snapshot that it was started with says nothing to it; it knows nothing yet. */
  | { type: 'unreadable'; reason: string }

export type ThreadData = { snapshot: Uint8Array | undefined }
