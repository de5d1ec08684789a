// The history of a registry: events that are only ever added, each with the hash of the one before. The present state is what
// they fold to, nothing else.

import { toJcs } from './jcs.ts'
import type { PolicyChoices, PromptMode } from './prompt-policy.ts'

/** Who did it. A person's decision is never undone by the machine. */
export type Actor = { kind: 'person' | 'machine'; id: string }

export type Canary = { version: string; share: number }

export type PromptFact =
  | { type: 'created'; source: 'auto_backfill' | 'declared'; displayName: string }
  | { type: 'declared'; version: string; contentHash: string }
  | { type: 'discovered'; version: string; contentHash: string }
  | { type: 'conflict'; version: string }
  | { type: 'merged'; version: string; into: string }
  | { type: 'flooded'; newVersions: number }
  | { type: 'resumed' }
  | { type: 'status'; version: string; status: string }
  | { type: 'baseline'; version: string }
  | { type: 'promoted'; version: string; from: string | null }
  | { type: 'rolled_back'; version: string | null; from: string }
  | { type: 'pinned'; version: string }
  | { type: 'unpinned'; version: string }
  | { type: 'canary'; canary: Canary | null }
  | { type: 'mode'; mode: PromptMode }
  | { type: 'policy'; policy: PolicyChoices }
  | { type: 'renamed'; displayName: string }

export type PromptEvent = {
  /** From 1, without a gap. */
  seq: number
  at: string
  actor: Actor
  reason: string
  /** What a decision rests on, as the one who made it tells it. */
  evidence: unknown
  fact: PromptFact
  previousHash: string
  hash: string
}

export type RegistryState = {
  displayName: string
  mode: PromptMode
  policy: PolicyChoices
  /** In force: the reference baseline in observe mode, what answers in serve mode. */
  promoted: string | null
  promotedBy: Actor['kind'] | null
  /** The versions that were in force before, the latest last; what a rollback without a target goes back to. */
  earlier: string[]
  /** The first stable version, until one is promoted. */
  baseline: string | null
  pinned: string | null
  canary: Canary | null
  /** Too many new versions at once: no experiment starts by itself. */
  flooded: boolean
  /** Versions that a person took out of force: the machine does not bring them back. */
  heldBack: string[]
}

export const firstState: RegistryState = {
  displayName: '',
  mode: 'observe',
  policy: {},
  promoted: null,
  promotedBy: null,
  earlier: [],
  baseline: null,
  pinned: null,
  canary: null,
  flooded: false,
  heldBack: [],
}

// A rollback goes back one by one; nobody goes back further than this.
const earlierMax = 50

/** The state after one more event. */
export function applyEvent(
  state: RegistryState,
  { fact, actor }: Pick<PromptEvent, 'fact' | 'actor'>,
): RegistryState {
  switch (fact.type) {
    case 'created':
    case 'renamed':
      return { ...state, displayName: fact.displayName }
    case 'baseline':
      return { ...state, baseline: fact.version }
    case 'promoted':
      return {
        ...state,
        promoted: fact.version,
        promotedBy: actor.kind,
        earlier:
          state.promoted === null
            ? state.earlier
            : [...state.earlier, state.promoted].slice(-earlierMax),
        canary: null,
        heldBack: state.heldBack.filter((version) => version !== fact.version),
      }
    case 'rolled_back':
      return {
        ...state,
        promoted: fact.version,
        promotedBy: actor.kind,
        earlier: state.earlier.slice(0, Math.max(0, state.earlier.lastIndexOf(fact.version ?? ''))),
        canary: null,
        heldBack:
          actor.kind === 'person' ? [...new Set([...state.heldBack, fact.from])] : state.heldBack,
      }
    case 'pinned':
      return { ...state, pinned: fact.version }
    case 'unpinned':
      return { ...state, pinned: null }
    case 'canary':
      return { ...state, canary: fact.canary }
    case 'mode':
      return { ...state, mode: fact.mode, canary: null }
    case 'policy':
      return { ...state, policy: fact.policy }
    case 'flooded':
      return { ...state, flooded: true }
    case 'resumed':
      return { ...state, flooded: false }
    case 'declared':
    case 'discovered':
    case 'conflict':
    case 'merged':
    case 'status':
      return state // these are about a version, which has a row of its own
    default:
      return fact satisfies never
  }
}

/** What the hash of an event is taken of. */
export function hashedTextOf(
  at: { workspace: string; registry: string },
  { hash: _, ...event }: PromptEvent,
): string {
  return toJcs({ ...at, ...event })
}
