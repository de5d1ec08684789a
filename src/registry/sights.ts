// What a call's prompt is, as far as it is known now, and what discovery is told of it: a hash and a place in a queue, no more.

import { hash } from 'node:crypto'
import { promptOf } from '../../replay/discovery/prompt-text.ts'
import type { Counters } from '../../schemas/counters.ts'
import { toHex } from '../../schemas/ids.ts'
import type { PromptSights, SeenCall } from '../../schemas/prompt.ts'
import type { Sight, ThreadCall } from './discovery-messages.ts'

// Calls that the thread has not answered yet; beyond it a call is not looked at, which costs nothing but knowledge.
const waitingMax = 1_000
const waitingCharsMax = 16 * 1024 * 1024
// Whole prompts whose version is known; a prompt without variables is then known before its call leaves.
const knownMax = 20_000
// A prompt is shown so often, which is more than a version needs to be found or told apart; from then on one call in so many:
// a copy for the thread and its look at it cost more than the signature of the call, and the same text teaches it nothing new.
const shownAlways = 160
const shownOneIn = 16
// Calls of so long share a message: what a message costs is mostly that the thread must be woken. An upstream takes longer.
const gatherMs = 5

// Stored calls may use this share of the room: those that pass are seen now or never.
const storedShare = 0.5

type Waiting = {
  workspace: string
  ref: Uint8Array | undefined
  key: string
  chars: number
  found: (versionId: string) => boolean
}

/** A prompt whose version was found: how often it came since the version was first said. */
type Known = { workspace: string; versionId: string; times: number }

/** A call that was stored before its version was found. */
export type Late = { workspace: string; ref: Uint8Array; versionId: string }

/** Where calls go while this process leads. */
export type Lead = {
  send(calls: ThreadCall[]): void
  /** A call that passes was looked at, or need not be: it is not to be shown again when it is met in the stores. */
  note(ref: Uint8Array): void
}

export type Sights = PromptSights & {
  /** Undefined: calls go nowhere, and nothing waits. */
  feed(to: Lead | undefined): void
  /** As `see`, for a call that is met in the stores. */
  meet: PromptSights['see']
  /** False while calls that are met would take the room of those that pass. */
  hasRoom(): boolean
  /** The thread's answers. Returns the runs that must be told later. */
  settle(sights: readonly Sight[]): Late[]
  /** A version was merged into another, or its registry forgotten: its prompts are looked at anew. */
  forget(workspace: string, versionId: string): void
  waiting(): number
  /** Sends what is gathered at once, for whoever waits until all of it was looked at. */
  flush(): void
}

export function openSights(counters: Counters): Sights {
  const known = new Map<string, Known>()
  const waiting = new Map<number, Waiting>()
  let waitingChars = 0
  let queue: ThreadCall[] = []
  let nextId = 1
  let lead: Lead | undefined

  /** False: there is no room, and the call passes unseen. */
  function enqueue(call: ThreadCall, one: Waiting): boolean {
    if (waiting.size >= waitingMax || waitingChars + one.chars > waitingCharsMax) {
      counters.count('prompt_observations_dropped_total', {})
      return false
    }
    waiting.set(call.id, one)
    waitingChars += one.chars
    if (queue.length === 0) setTimeout(flush, gatherMs)
    queue.push(call)
    return true
  }

  function flush(): void {
    if (queue.length === 0) return
    const calls = queue
    queue = []
    lead?.send(calls)
  }

  function show(
    call: SeenCall,
    read: Read,
    found: (versionId: string) => boolean,
  ): { versionId: string | undefined; isDone: boolean } {
    const { key, chars } = read
    const hit = known.get(key)
    let isDone = true
    if (!isEnough(hit)) {
      const id = nextId++
      const { workspace, ref } = call
      isDone = enqueue({ id, ...toSent(call, read) }, { workspace, ref, key, chars, found })
    }
    if (!hit) return { versionId: undefined, isDone }
    hit.times += 1
    known.delete(key)
    known.set(key, hit)
    return { versionId: hit.versionId, isDone }
  }

  return {
    see(call, found) {
      const read = lead && readCall(call)
      if (!read) return undefined
      const { versionId, isDone } = show(call, read, found)
      if (isDone && call.ref) lead?.note(call.ref)
      return versionId
    },
    meet(call, found) {
      const read = lead && readCall(call)
      return read && show(call, read, found).versionId
    },
    hasRoom: () =>
      waiting.size < storedShare * waitingMax && waitingChars < storedShare * waitingCharsMax,
    feed(to) {
      lead = to
      if (to) return
      queue = []
      waiting.clear()
      waitingChars = 0
      known.clear()
    },
    settle(sights) {
      const late: Late[] = []
      for (const { id, versionId } of sights) {
        const one = waiting.get(id)
        if (!one) continue
        waiting.delete(id)
        waitingChars -= one.chars
        if (versionId === undefined) continue
        const { workspace, ref } = one
        const before = known.get(one.key)
        // Of another version than was said: its calls are all shown again.
        const times = before?.versionId === versionId ? before.times : 0
        known.delete(one.key)
        if (known.size >= knownMax) known.delete(known.keys().next().value as string) // not empty: it is full
        known.set(one.key, { workspace, versionId, times })
        if (!one.found(versionId) && ref) late.push({ workspace, ref, versionId })
      }
      return late
    },
    forget(workspace, versionId) {
      for (const [key, one] of known)
        if (one.workspace === workspace && one.versionId === versionId) known.delete(key)
    },
    waiting: () => waiting.size,
    flush,
  }
}

/** True when there is nothing to learn from one more call with this prompt. */
function isEnough(known: Known | undefined): boolean {
  return known !== undefined && known.times >= shownAlways && known.times % shownOneIn !== 0
}

/** The prompt of a call with what makes a version beside its text; `key` is the same for calls that are alike in all of it. */
type Read = {
  text: string
  tools: string | undefined
  responseFormat: string | undefined
  paramsClass: string
  key: string
  chars: number
}

function readCall(call: SeenCall): Read | undefined {
  const messages = toMessages(call.messages)
  const said = messages && promptOf(messages)
  // Templates and their samples are stored: what may not be written is not shown to whoever makes them.
  const text = said && call.redact ? call.redact('gen_ai.input.messages', said) : said
  if (!text) return undefined
  const toolsSaid = toJson(call.tools)
  const tools =
    toolsSaid && call.redact ? call.redact('gen_ai.tool.definitions', toolsSaid) : toolsSaid
  const responseFormat = toJson(call.responseFormat)
  const paramsClass = classOf(call.temperature)
  const around = `${call.workspace}\0${call.slug ?? ''}\0${call.version ?? ''}\0${paramsClass}`
  const whole = `${around}\0${tools ?? ''}\0${responseFormat ?? ''}\0${text}`
  const chars = text.length + (tools?.length ?? 0) + (responseFormat?.length ?? 0)
  return { text, tools, responseFormat, paramsClass, key: hash('sha1', whole, 'base64'), chars }
}

function toSent(call: SeenCall, read: Read): Omit<ThreadCall, 'id'> {
  const { workspace, ref, slug, version, user } = call
  return {
    observation: {
      workspace,
      ...(ref === undefined ? {} : { ref: toHex(ref) }),
      messages: [{ role: 'system', content: read.text }],
      paramsClass: read.paramsClass,
      ...(slug === undefined ? {} : { slug }),
      ...(version === undefined ? {} : { version }),
      ...(user === '' ? {} : { user }),
      atMs: call.atMs,
    },
    tools: read.tools,
    responseFormat: read.responseFormat,
  }
}

function toMessages(given: unknown): { role: string; content: unknown }[] | undefined {
  if (typeof given === 'string') return [{ role: 'user', content: given }]
  if (!Array.isArray(given)) return undefined
  return given.every((one) => typeof Object(one).role === 'string') ? given : undefined
}

function toJson(value: unknown): string | undefined {
  return value === undefined || value === null ? undefined : JSON.stringify(value)
}

// A nudge is no new version; from exact answers to free ones is.
function classOf(temperature: unknown): string {
  if (typeof temperature !== 'number') return ''
  if (temperature <= 0.2) return 'deterministic'
  return temperature >= 1.2 ? 'creative' : ''
}
