// One call to one target after another, until one answers: what failover is, and where it ends. Before the first byte of a
// body another target may be asked; afterwards never. Towards the answer it is one upstream call.

import type { IncomingHttpHeaders } from 'node:http'
import type { SpanId } from '../../../schemas/ids.ts'
import type { Call } from '../call.ts'
import { OutboundError, type OutboundErrorKind } from '../outbound.ts'
import { shownProvider, shownRoute } from '../shown-names.ts'
import { newSpanId, toTraceparent } from '../trace-context.ts'
import type { UpstreamCall, UpstreamHandler } from '../upstream.ts'
import type { Target } from './routes.ts'
import { chooseTarget } from './target-choice.ts'

// Of one call, over all targets and keys.
const attemptsMax = 8

/** One of several that a call took. Times as `performance.now()`. */
export type Attempt = {
  spanId: SpanId
  provider: string
  model: string
  startedTick: number
  /** Undefined: still under way. */
  endedTick: number | undefined
  /** A status or what went wrong; undefined: it answers. */
  error: string | undefined
}

// Statuses after which the next target is asked; 429 asks the next key first. Whatever else comes is the answer.
const movesOn = new Set([502, 503, 504])
const failures: ReadonlySet<OutboundErrorKind> = new Set([
  'busy',
  'connect',
  'head_timeout',
  'idle_timeout',
  'broken',
])
const late = 'No answer came in time.'

export class Attempts implements UpstreamCall, UpstreamHandler {
  readonly #call: Call
  #handler!: UpstreamHandler // given to start, before which nothing can come
  readonly #clientHeaders: IncomingHttpHeaders
  #target: Target | undefined
  #current: UpstreamCall | undefined
  #made = 0
  // Bits by position, of targets and of the present target's keys.
  #triedTargets = 0
  #triedKeys = 0
  #key = -1
  #startedTick = 0
  /** The head waits for the first byte: until that has come another target may still answer. */
  #head: { status: number; headers: IncomingHttpHeaders } | undefined
  #status = 0
  #isCommitted = false
  #isOver = false
  #ttft: NodeJS.Timeout | undefined
  #total: NodeJS.Timeout | undefined

  /** Chooses whom to ask first, and notes it in the call. */
  constructor(call: Call, clientHeaders: IncomingHttpHeaders) {
    this.#call = call
    this.#clientHeaders = clientHeaders
    this.#choose()
  }

  start(handler: UpstreamHandler): void {
    this.#handler = handler
    const { route } = this.#call
    route.budget.earn()
    if (route.totalTimeoutMs !== undefined) {
      this.#total = setTimeout(() => this.#giveUp(), route.totalTimeoutMs)
    }
    this.#ask()
  }

  pause(): void {
    this.#current?.pause()
  }

  resume(): void {
    this.#current?.resume()
  }

  abort(): void {
    if (this.#isOver) return
    this.#end()
    if (!this.#isCommitted) this.#target?.breaker.left()
    this.#current?.abort()
  }

  onHead(status: number, headers: IncomingHttpHeaders): void {
    this.#status = status
    const { breaker, keys } = this.#target!
    const { nowMs, counters } = this.#call.deps
    if (status >= 500) breaker.failed(nowMs())
    else if (status >= 400) breaker.left()
    if (status === 429) keys.limited(this.#key, headers, nowMs())
    else if (status === 401 || status === 403) {
      keys.refused(this.#key, nowMs())
      counters.count('proxy_keys_refused_total', { provider: shownProvider(this.#call) })
    }
    if ((status === 429 || movesOn.has(status)) && this.#goOn(String(status), status === 429))
      return
    this.#head = { status, headers }
  }

  onData(chunk: Buffer): void {
    if (this.#head) this.#commit()
    if (!this.#isOver) this.#handler.onData(chunk)
  }

  onEnd(): void {
    if (this.#head) this.#commit()
    if (this.#isOver) return
    this.#end()
    this.#handler.onEnd()
  }

  onError(error: OutboundError): void {
    if (this.#isOver) return
    const { breaker } = this.#target!
    // What is too large, or refused before it was asked, says nothing about how the upstream is.
    if (failures.has(error.kind) && error.kind !== 'busy') breaker.failed(this.#call.deps.nowMs())
    else breaker.left()
    if (!this.#isCommitted && failures.has(error.kind) && this.#goOn(error.kind, false)) return
    this.#fail(error)
  }

  #commit(): void {
    const { status, headers } = this.#head!
    this.#head = undefined
    this.#isCommitted = true
    clearTimeout(this.#ttft)
    const { breaker } = this.#target!
    if (status < 400) breaker.succeeded(this.#call.deps.nowMs())
    this.#call.answeredTick = performance.now()
    this.#handler.onHead(status, headers)
  }

  /** Asks the present target with its present key. */
  #ask(): void {
    const call = this.#call
    const { route, operation, trace } = call
    const target = this.#target!
    const { upstream, model, keys } = target
    this.#made += 1
    this.#status = 0
    this.#startedTick = performance.now()
    call.askedTick ??= this.#startedTick
    call.keyAsked = keys.texts[this.#key]
    target.breaker.begin()
    if (call.stream) this.#ttft = setTimeout(() => this.#giveUpWaiting(), route.ttftTimeoutMs)
    const isRenamed = model !== undefined && model !== call.model
    this.#current = upstream.call(
      {
        operation,
        body:
          isRenamed && operation.withModel
            ? operation.withModel(call.upstreamBody, model)
            : call.upstreamBody,
        upload: isRenamed ? call.upload?.withModel(model) : call.upload,
        contentType: call.contentType,
        clientHeaders: this.#clientHeaders,
        traceparent: toTraceparent(trace.traceId, call.spanId, trace.flags),
        traceState: trace.traceState,
        requestId: call.requestId,
        stream: call.stream,
        apiKey: call.keyAsked,
        headTimeoutMs: call.stream ? route.ttftTimeoutMs : route.answerTimeoutMs,
        idleTimeoutMs: route.idleTimeoutMs,
      },
      this,
    )
  }

  /** Another key after `429`, else another target, if there is one and the budget allows it. */
  #goOn(reason: string, isLimited: boolean): boolean {
    const call = this.#call
    const { deps, route } = call
    if (this.#isOver || this.#made >= attemptsMax) return false
    const before = { target: this.#target!, key: this.#key }
    const isNext = (isLimited && this.#chooseKey()) || this.#choose()
    if (!isNext) return false
    if (!route.budget.spend(deps.nowMs())) {
      deps.counters.count('proxy_retries_refused_total', { route: shownRoute(call) })
      this.#use(before.target)
      this.#key = before.key
      return false
    }
    clearTimeout(this.#ttft)
    this.#current?.abort()
    deps.counters.count('proxy_retries_total', { route: shownRoute(call), reason })
    call.attempts ??= [this.#toAttempt(before.target)]
    this.#closeAttempt(reason)
    this.#ask()
    call.attempts.push(this.#toAttempt(this.#target!))
    return true
  }

  #toAttempt({ upstream, model }: Target): Attempt {
    return {
      spanId: newSpanId(),
      provider: upstream.provider,
      model: model ?? this.#call.model,
      startedTick: this.#startedTick,
      endedTick: undefined,
      error: undefined,
    }
  }

  #closeAttempt(error: string | undefined): void {
    const last = this.#call.attempts?.at(-1)
    if (!last) return
    last.endedTick = performance.now()
    last.error = error
  }

  #use(target: Target): void {
    this.#target = target
    this.#call.provider = target.upstream.provider
    this.#call.modelAsked = target.model ?? this.#call.model
  }

  #chooseKey(): boolean {
    const { keys } = this.#target!
    const key = keys.pick(this.#triedKeys, this.#call.deps.nowMs())
    if (key < 0) return false
    this.#triedKeys |= 1 << key
    this.#key = key
    return true
  }

  #choose(): boolean {
    const { deps, route } = this.#call
    const { nowMs, random = Math.random } = deps
    const chosen = chooseTarget(route.targets, this.#triedTargets, { nowMs: nowMs(), random })
    if (chosen < 0) return false
    this.#triedTargets |= 1 << chosen
    this.#use(route.targets[chosen]!)
    this.#triedKeys = 0
    this.#key = -1
    this.#chooseKey()
    return true
  }

  /** A stream's first byte did not come in time. */
  #giveUpWaiting(): void {
    if (this.#isOver || this.#isCommitted) return
    this.#head = undefined
    this.#target!.breaker.failed(this.#call.deps.nowMs())
    if (this.#goOn('head_timeout', false)) return
    this.#current?.abort()
    this.#fail(new OutboundError('head_timeout', late))
  }

  /** The call as a whole has taken too long. */
  #giveUp(): void {
    if (this.#isOver) return
    this.#target!.breaker.left()
    this.#current?.abort()
    this.#fail(new OutboundError('total_timeout', 'The call took longer than its route allows.'))
  }

  #fail(error: OutboundError): void {
    this.#head = undefined
    this.#end(error.kind)
    this.#handler.onError(error)
  }

  #end(error = this.#status >= 400 ? String(this.#status) : undefined): void {
    this.#isOver = true
    clearTimeout(this.#ttft)
    clearTimeout(this.#total)
    this.#call.endedTick = performance.now()
    this.#closeAttempt(error)
  }
}
