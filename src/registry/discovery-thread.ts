// The thread of discovery: looking at a family takes milliseconds, which no call may wait for.

import { parentPort, workerData } from 'node:worker_threads'
import { deflateRawSync, inflateRawSync } from 'node:zlib'
import { type Discovery, openDiscovery } from '../../replay/discovery/discovery.ts'
import { hashAround } from '../../replay/discovery/read.ts'
import type { DiscoveryEvent, StableEvent } from '../../schemas/discovery.ts'
import type {
  FromThread,
  LearnedVersion,
  Sight,
  ThreadCall,
  ThreadData,
  ToThread,
} from './discovery-messages.ts'

// Tool lists and response formats kept as they were sent, so that a version found by its hash can be replayed with them.
const keptTextsMax = 400
const keptCharsMax = 8 * 1024 * 1024
const templatesMax = 20_000
// Calls that a new version waits for one more of its own, to make a template from.
const patience = 500
// When no call has come for so long, whatever was found is looked at: the last of a burst must not wait for the next one.
const quietMs = 2_000

type Kept = { value: unknown; hash: string; chars: number }

class KeptTexts {
  readonly #byText = new Map<string, Kept>()
  #chars = 0

  /** The value of a JSON text, parsed once while it is kept. */
  read(text: string | undefined): unknown {
    if (text === undefined || text === '') return undefined
    const known = this.#byText.get(text)
    this.#byText.delete(text)
    const kept = known ?? this.#parse(text)
    this.#byText.set(text, kept)
    while (
      this.#byText.size > keptTextsMax ||
      (this.#chars > keptCharsMax && this.#byText.size > 1)
    ) {
      const [oldest, { chars }] = this.#byText.entries().next().value as [string, Kept] // more than none: just checked
      this.#byText.delete(oldest)
      this.#chars -= chars
    }
    return kept.value
  }

  find(hash: string): unknown {
    if (hash === '') return undefined
    for (const kept of this.#byText.values()) if (kept.hash === hash) return kept.value
    return undefined
  }

  #parse(text: string): Kept {
    const value = toValue(text)
    this.#chars += text.length
    return { value, hash: hashAround(value), chars: text.length }
  }
}

// What was replaced in a text may have broken its JSON: it is told apart by its text then.
function toValue(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}

const port = parentPort
if (!port) throw new Error('This is a thread of the plane; it is not started by itself.')
const { snapshot } = workerData as ThreadData // given by whoever starts this thread: discovery-host.ts
const discovery = open()
const texts = new KeptTexts()
// Told first of all, because what was found just before a crash may not have been written.
let held: Held[] = discovery.versions().map((event) => ({ event, since: 0 }))
const told = new Map<string, string>()
let observed = 0
let quiet: NodeJS.Timeout | undefined

type Held = { event: StableEvent; since: number }

port.on('message', (message: ToThread) => {
  switch (message.type) {
    case 'observe':
      return observe(message.calls)
    case 'reserve':
      for (const { workspace, registry, isDeclared, versions } of message.names)
        discovery.reserve(workspace, registry, { isDeclared, versions: new Map(versions) })
      return
    case 'resume':
      return discovery.resume(message.workspace, message.registry)
    case 'forget':
      return discovery.forgetTexts(message.workspace)
    case 'snapshot':
      return writeSnapshot()
    default:
      return message satisfies never
  }
})

function open(): Discovery {
  try {
    return openDiscovery(snapshot && inflateRawSync(snapshot))
  } catch (error) {
    // Of another version of this program, or cut off: prompts are found again under the names that the registry has.
    send({ type: 'unreadable', reason: String(error) })
    return openDiscovery()
  }
}

function send(message: FromThread): void {
  port?.postMessage(message)
}

function observe(calls: ThreadCall[]): void {
  const sights: Sight[] = calls.map(({ id, observation, tools, responseFormat }) => ({
    id,
    versionId: discovery.observe({
      ...observation,
      tools: texts.read(tools),
      responseFormat: texts.read(responseFormat),
    }).versionId,
  }))
  observed += calls.length
  send({ type: 'seen', sights, ...found() })
  clearTimeout(quiet)
  quiet = setTimeout(lookAgain, quietMs)
  quiet.unref()
}

function lookAgain(): void {
  discovery.look(Date.now())
  send({ type: 'seen', sights: [], ...found() })
}

/** What was found since the last time, but for versions that wait for a template. */
function found(): { events: DiscoveryEvent[]; learned: LearnedVersion[] } {
  const events = discovery.drain()
  for (const event of events)
    if (event.type === 'version_stable') held.push({ event, since: observed })
  const others = events.filter((event) => event.type !== 'version_stable')
  return { events: others, learned: release() }
}

/** Versions that a prompt can be made with now, and those of which this could not be waited for any longer. */
function release(): LearnedVersion[] {
  const learned: LearnedVersion[] = []
  held = held.filter(({ event, since }) => {
    const version = learn(event)
    const isReady = version.template !== undefined && version.template.literals.length > 0
    if (!isReady && observed - since < patience) return true
    learned.push(version)
    return false
  })
  // What tells two versions apart teaches something of the older one too.
  const registries = new Set(learned.map(({ event }) => `${event.workspace} ${event.registry}`))
  if (learned.length > 0)
    learned.unshift(...improved((event) => registries.has(`${event.workspace} ${event.registry}`)))
  return learned
}

/** Versions told before, and not waiting, whose templates have become better since. */
function improved(isAsked: (event: StableEvent) => boolean): LearnedVersion[] {
  return discovery.versions().flatMap((event) => {
    if (!isAsked(event) || held.some((one) => one.event.versionId === event.versionId)) return []
    const before = told.get(`${event.workspace} ${event.versionId}`)
    const version = learn(event)
    // Its sample was forgotten: what was told before stands until there is one again.
    if (version.template === undefined) return []
    return textOf(version.template) === before ? [] : [version]
  })
}

function learn(event: StableEvent): LearnedVersion {
  const template = discovery.template(event.workspace, event.versionId)
  if (told.size >= templatesMax) told.clear()
  if (template) told.set(`${event.workspace} ${event.versionId}`, textOf(template))
  const { tools, responseFormat } = event.hashes
  return { event, template, tools: texts.find(tools), responseFormat: texts.find(responseFormat) }
}

function textOf(template: LearnedVersion['template']): string {
  return JSON.stringify(template) ?? ''
}

/** With the versions whose templates have become better since they were last told. */
function writeSnapshot(): void {
  lookAgain()
  const learned = [...release(), ...improved(() => true)]
  const bytes = deflateRawSync(discovery.snapshot(), { level: 1 })
  send({ type: 'snapshot', bytes, learned })
}
