// Answers of routes that cache: what came from the upstream, given again to the same request of the same workspace. A hit is a
// call of its own, with its run and its receipt; only the upstream is not asked, and nothing is charged.

import { createHash } from 'node:crypto'
import type { IncomingHttpHeaders } from 'node:http'
import { toLooseJcs } from '../../schemas/jcs.ts'
import type { Call } from './call.ts'
import type { OutboundError } from './outbound.ts'
import type { Route } from './targets/routes.ts'
import type { UpstreamCall, UpstreamHandler } from './upstream.ts'

// Of this process: a restart forgets, and another process learns by itself. Enough for some ten thousand answers.
const cacheBytesMax = 64 * 1024 * 1024
// A larger answer is passed on and not kept.
const answerBytesMax = 1024 * 1024
// Of all answers on their way into the cache.
const gatheringBytesMax = 64 * 1024 * 1024

// What names the caller's own bookkeeping and changes no answer; everything else of a request is part of its key.
const ignored = new Set(['user', 'metadata', 'store', 'safety_identifier', 'prompt_cache_key'])

type Cached = {
  workspace: string
  headers: IncomingHttpHeaders
  body: Buffer
  provider: string
  modelAsked: string
  tick: number
}

export class ResponseCache {
  readonly #tickMs: () => number
  readonly #answers = new Map<string, Cached>()
  #bytes = 0
  gatheringBytes = 0

  constructor(tickMs: () => number = () => performance.now()) {
    this.#tickMs = tickMs
  }

  find(key: string, maxAgeS: number): Cached | undefined {
    const found = this.#answers.get(key)
    if (!found || this.#tickMs() - found.tick > maxAgeS * 1000) return undefined
    // The one used last is the last to go.
    this.#answers.delete(key)
    this.#answers.set(key, found)
    return found
  }

  keep(key: string, answer: Omit<Cached, 'tick'>): void {
    this.#drop(key)
    this.#answers.set(key, { ...answer, tick: this.#tickMs() })
    this.#bytes += answer.body.length
    for (const oldest of this.#answers.keys()) {
      if (this.#bytes <= cacheBytesMax) break
      this.#drop(oldest)
    }
  }

  /** Something of this workspace was deleted, and an answer may quote it: the next like each is asked of the upstream again. */
  forget(workspace: string): void {
    for (const [key, answer] of this.#answers) if (answer.workspace === workspace) this.#drop(key)
  }

  #drop(key: string): void {
    this.#bytes -= this.#answers.get(key)?.body.length ?? 0
    this.#answers.delete(key)
  }
}

/** Between upstream and answer of a call whose route caches: passes everything on, and keeps what turns out complete. */
export class CachingAnswer implements UpstreamHandler {
  readonly #cache: ResponseCache
  readonly #call: Call
  readonly #key: string
  readonly #to: UpstreamHandler
  #headers: IncomingHttpHeaders | undefined
  #chunks: Buffer[] = []
  #bytes = 0
  #isOver = false

  constructor(cache: ResponseCache, call: Call, to: UpstreamHandler) {
    this.#cache = cache
    this.#call = call
    this.#key = keyOf(call)
    this.#to = to
  }

  find(maxAgeS: number): Cached | undefined {
    const found = this.#cache.find(this.#key, maxAgeS)
    this.#call.deps.counters.count('proxy_cache_total', { found: found ? 'hit' : 'miss' })
    return found
  }

  /** In place of an upstream. */
  give({ headers, body, provider, modelAsked }: Cached): void {
    this.release()
    this.#call.isCacheHit = true
    this.#call.provider = provider
    this.#call.modelAsked = modelAsked
    this.#to.onHead(200, headers)
    this.#to.onData(body)
    this.#to.onEnd()
  }

  /** Once the run of a complete answer is durable. */
  keep(): void {
    const headers = this.#headers
    if (!headers || this.#isOver) return
    const body = Buffer.concat(this.#chunks)
    this.release()
    const { provider, modelAsked, caller } = this.#call
    const { workspace } = caller
    this.#cache.keep(this.#key, { workspace, headers, body, provider, modelAsked })
  }

  /** What was gathered is let go. */
  release(): void {
    this.#isOver = true
    this.#cache.gatheringBytes -= this.#bytes
    this.#bytes = 0
    this.#chunks = []
  }

  onHead(status: number, headers: IncomingHttpHeaders): void {
    const type = headers['content-type']
    if (status === 200) this.#headers = type === undefined ? {} : { 'content-type': type }
    this.#to.onHead(status, headers)
  }

  onData(chunk: Buffer): void {
    if (!this.#isOver) this.#gather(chunk)
    this.#to.onData(chunk)
  }

  onEnd(): void {
    this.#to.onEnd()
  }

  onError(error: OutboundError): void {
    this.#to.onError(error)
  }

  #gather(chunk: Buffer): void {
    this.#chunks.push(chunk)
    this.#bytes += chunk.length
    this.#cache.gatheringBytes += chunk.length
    const isTooLarge = this.#bytes > answerBytesMax
    if (!isTooLarge && this.#cache.gatheringBytes <= gatheringBytesMax) return
    this.release()
    this.#call.deps.counters.count('proxy_cache_total', { found: 'too_large' })
  }
}

/** Undefined where the route does not cache. A body on the disk is not looked into for its likes; a job is one of its own each time. */
export function cachingOf(call: Call, to: UpstreamHandler): CachingAnswer | undefined {
  const { deps, operation, route, upload } = call
  if (route.cacheS === undefined || !deps.cache || upload || operation.startsJob) return undefined
  return new CachingAnswer(deps.cache, call, to)
}

/** For an answer that no upstream gives: it is all there already. */
export const noUpstream: UpstreamCall = { pause() {}, resume() {}, abort() {} }

const signatures = new WeakMap<Route, string>()

/** Who would be asked for what: with other targets the same route is another one. */
function signatureOf(route: Route): string {
  const known = signatures.get(route)
  if (known !== undefined) return known
  const targets = route.targets.map(({ upstream, model }) => [upstream.provider, model ?? null])
  const made = JSON.stringify([route.id, targets])
  signatures.set(route, made)
  return made
}

function keyOf(call: Call): string {
  const request = Object.entries(call.request).filter(([name]) => !ignored.has(name))
  const text = toLooseJcs([
    call.caller.workspace,
    call.operation.upstreamPath,
    signatureOf(call.route),
    call.model,
    call.prompt?.versionId ?? 'default',
    Object.fromEntries(request),
  ])
  return createHash('sha256').update(text).digest('base64')
}
