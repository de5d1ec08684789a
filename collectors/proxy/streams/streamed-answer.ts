// A stream on its way through: whole events leave at once and are looked at afterwards; the last waits for the record.
// The commit point is the first byte to the client: before it a failure is a JSON answer, after it an event in the stream.

import type { IncomingHttpHeaders } from 'node:http'
import { Fault } from '../../../schemas/faults.ts'
import type { SignedRecord } from '../../../schemas/record.ts'
import {
  isEncoded,
  isEventStream,
  pushAnswerHeaders,
  upstreamRequestIdOf,
} from '../answer-headers.ts'
import { type Call, type Outcome, runStatusOf } from '../call.ts'
import { type Done, HeldAnswer, noRecord, settle, stopping } from '../held-answer.ts'
import { keepLast } from '../idempotency.ts'
import type { EventStream, StreamTap } from '../operation.ts'
import type { OutboundError } from '../outbound.ts'
import { addTiming, closingComment, receiptHeaders } from '../receipt.ts'
import { storeFinal } from '../store-call.ts'
import type { UpstreamCall, UpstreamHandler } from '../upstream.ts'
import { faultOf } from '../upstream-faults.ts'
import { LateTap } from './late-tap.ts'
import { OpeningGate } from './opening-gate.ts'
import { type LastBlock, SseBlocks } from './sse-blocks.ts'

// An upstream that said [DONE] has nothing more to say; its connection is given this long to end by itself.
const lingerMs = 1000

/**
 * waiting: nothing has left. held: it became a JSON answer. flowing: events pass. closing: the final record is on its way
 * to the disk. lingering: the receipt has left, the upstream has not ended. over: nothing is left to do.
 */
type Phase = 'waiting' | 'held' | 'flowing' | 'closing' | 'lingering' | 'over'

/** Of a stream that could not be completed: by its upstream, or because this process ends. */
type BrokenStatus = 'truncated' | 'interrupted'

export class StreamedAnswer implements UpstreamHandler {
  readonly #call: Call
  readonly #done: Done
  #gate!: OpeningGate // there is nothing before `open`
  readonly #events: EventStream
  readonly #blocks: SseBlocks
  readonly #tap: StreamTap
  readonly #onDrain = () => this.#flow()
  #upstream: UpstreamCall | undefined
  #held: HeldAnswer | undefined
  #phase: Phase = 'waiting'
  #upstreamEnded = false
  #headers: IncomingHttpHeaders = {}
  #ttftMs: number | undefined
  #linger: NodeJS.Timeout | undefined

  /** `done` is called once, when nothing is left to do. */
  constructor(call: Call, events: EventStream, done: Done) {
    this.#call = call
    this.#done = done
    this.#events = events
    this.#blocks = new SseBlocks(events.terminal, !call.usageWanted)
    this.#tap = new LateTap(events.tap())
  }

  /** Signs and stores the opening record; before anything is heard of the upstream. */
  open(): void {
    this.#gate = new OpeningGate(this.#call, (error) => this.#refuse(error))
  }

  attach(upstream: UpstreamCall): void {
    this.#upstream = upstream
    if (this.#held) upstream.abort()
  }

  onHead(status: number, headers: IncomingHttpHeaders): void {
    this.#headers = headers
    if (status !== 200 || !isEventStream(headers) || isEncoded(headers)) {
      this.#hold().onHead(status, headers)
    }
  }

  onData(chunk: Buffer): void {
    if (this.#phase === 'held') this.#held?.onData(chunk)
    if (this.#phase === 'held' || this.#phase === 'over' || this.#phase === 'closing') return
    if (!this.#gate.isOpen) {
      // The rest stays in the upstream's socket.
      this.#upstream?.pause()
      this.#gate.wait(() => this.onData(chunk))
      this.#gate.wait(() => this.#flow())
      return
    }
    const tick = this.#ttftMs === undefined ? performance.now() : 0
    this.#blocks.push(chunk)
    if (this.#phase === 'waiting' && this.#blocks.passing.length > 0) this.#begin()
    const { res, claim } = this.#call
    let hasRoom = true
    for (const bytes of this.#blocks.passing) hasRoom = res.write(bytes)
    if (claim) for (const bytes of this.#blocks.passing) claim.push(bytes)
    for (const block of this.#blocks.blocks) this.#tap.take(block)
    if (this.#tap.started) this.#ttftMs ??= tick - this.#call.startedTick
    if (this.#blocks.overflow) this.#break(new Fault('upstream_error', { message: tooLarge }))
    else if (this.#blocks.done && this.#phase !== 'lingering') this.#finish(this.#blocks.done)
    else if (!hasRoom) {
      this.#upstream?.pause()
      res.once('drain', this.#onDrain)
    }
  }

  onEnd(): void {
    if (this.#gate.isWaiting) {
      this.#gate.wait(() => this.onEnd())
      return
    }
    this.#upstreamEnded = true
    if (this.#phase === 'held') this.#held?.onEnd()
    else if (this.#phase === 'lingering') this.#close()
    else if (this.#phase === 'waiting' || this.#phase === 'flowing') {
      this.#blocks.end()
      if (this.#blocks.done) this.#finish(this.#blocks.done)
      else this.#break(new Fault('upstream_error', { message: endedEarly }))
    }
  }

  onError(error: OutboundError): void {
    if (this.#gate.isWaiting) {
      this.#gate.wait(() => this.onError(error))
      return
    }
    this.#upstreamEnded = true
    if (this.#phase === 'held') this.#held?.onError(error)
    else if (this.#phase === 'lingering') this.#close()
    else if (this.#phase === 'waiting' || this.#phase === 'flowing') {
      this.#blocks.end()
      this.#break(faultOf(error))
    }
  }

  /** The client has gone: the upstream is stopped, and the run is kept with what was seen. */
  leave(): void {
    if (this.#phase === 'held') this.#held?.leave()
    else if (this.#phase === 'lingering') {
      this.#upstream?.abort()
      this.#close()
    } else if (this.#phase === 'waiting' || this.#phase === 'flowing') {
      this.#phase = 'over'
      this.#upstream?.abort()
      settle(this.#store('client_closed', undefined), this.#done)
    }
  }

  /** This process ends: what has come is kept, and the client is told in the stream. */
  interrupt(): void {
    if (this.#phase === 'held') this.#held?.interrupt()
    else if (this.#phase === 'waiting') this.#hold().interrupt()
    else if (this.#phase === 'flowing') this.#break(stopping(), 'interrupted')
    else if (this.#phase === 'lingering') this.leave()
  }

  /** Sends the head; from here on the answer is a stream of status 200, come what may. */
  #begin(): void {
    const { res } = this.#call
    const opening = this.#call.isDropped ? undefined : this.#gate.record
    const headers = receiptHeaders(this.#call, opening, upstreamRequestIdOf(this.#headers))
    pushAnswerHeaders(headers, this.#headers, this.#call.route.public)
    headers.push('Cache-Control', 'no-cache', 'X-Accel-Buffering', 'no')
    addTiming(headers, this.#call)
    this.#call.claim?.begin(200, headers)
    res.writeHead(200, headers)
    this.#phase = 'flowing'
  }

  #flow(): void {
    const paused = this.#phase === 'closing' || this.#call.res.writableNeedDrain
    if (!paused) this.#upstream?.resume()
  }

  #finish(done: LastBlock): void {
    if (done.says) this.#tap.take(done.says)
    if (this.#phase === 'waiting') this.#begin()
    this.#phase = 'closing'
    this.#upstream?.pause()
    this.#conclude(this.#sendDone(done))
  }

  async #sendDone(done: LastBlock): Promise<void> {
    const { error } = this.#tap.completion()
    const status = error ? 'upstream_error' : 'completed'
    const signed = await this.#store(status, error)
    if (!signed && !this.#call.isDropped) {
      this.#upstream?.abort()
      this.#end(this.#events.breakWith(new Fault('service_unavailable'), undefined))
      return
    }
    const { res } = this.#call
    const word = this.#call.isCacheHit && !error ? 'cache_hit' : status
    const comment = Buffer.from(signed ? closingComment(signed, word) + done.eol : '')
    const last = Buffer.concat([done.before, comment, done.from])
    if (signed && !error) await keepLast(this.#call, last)
    if (!res.destroyed) res.write(last)
    this.#phase = 'lingering'
    if (this.#upstreamEnded || res.destroyed) {
      this.#upstream?.abort()
      this.#close()
      return
    }
    this.#linger = setTimeout(() => {
      this.#upstream?.abort()
      this.#close()
    }, lingerMs)
    if (res.writableNeedDrain) res.once('drain', this.#onDrain)
    else this.#upstream?.resume()
  }

  /** The stream cannot be completed: the client is told in the stream, and gets no `[DONE]`. */
  #break(fault: Fault, status: BrokenStatus = 'truncated'): void {
    if (this.#phase === 'waiting') {
      this.#upstream?.abort()
      this.#hold().refuse(fault)
      return
    }
    this.#phase = 'closing'
    this.#upstream?.abort()
    this.#conclude(this.#sendBreak(fault, status))
  }

  async #sendBreak(fault: Fault, broken: BrokenStatus): Promise<void> {
    const error = this.#tap.completion().error ?? { code: fault.code, message: fault.message }
    const status = this.#tap.completion().error ? 'upstream_error' : broken
    const signed = await this.#store(status, error)
    // Half an event may have left; a blank line keeps ours apart from it.
    const apart = this.#blocks.midBlock ? '\n\n' : ''
    const told = signed || this.#call.isDropped ? fault : new Fault('service_unavailable')
    const comment = signed && closingComment(signed, status)
    this.#end(apart + this.#events.breakWith(told, comment))
  }

  async #store(
    recordStatus: keyof typeof runStatusOf,
    error: Outcome['error'],
  ): Promise<SignedRecord | undefined> {
    const outcome: Outcome = {
      status: runStatusOf[recordStatus],
      recordStatus,
      error,
      httpStatus: 200,
      completion: this.#tap.completion(),
      upstreamRequestId: upstreamRequestIdOf(this.#headers),
      answered: this.#upstream !== undefined,
      ttftMs: this.#ttftMs,
    }
    const { counters } = this.#call.deps
    if (this.#tap.malformed > 0) {
      counters.count('proxy_malformed_events_total', {}, this.#tap.malformed)
    }
    try {
      return await storeFinal(this.#call, outcome, { opening: await this.#gate.stored })
    } catch (failure) {
      noRecord(this.#call, failure)
      return undefined
    }
  }

  #refuse(error: unknown): void {
    if (this.#phase !== 'waiting') return
    this.#upstream?.abort()
    this.#hold().refuse(new Fault('service_unavailable', {}, { cause: error }))
  }

  #hold(): HeldAnswer {
    this.#phase = 'held'
    this.#held = new HeldAnswer(this.#call, this.#done, this.#gate.stored)
    if (this.#upstream) this.#held.attach(this.#upstream)
    return this.#held
  }

  /** The last work of a stream: what fails in it unexpectedly ends the call. */
  #conclude(work: Promise<void>): void {
    work.catch((error) => {
      this.#phase = 'over'
      this.#upstream?.abort()
      this.#done(error)
    })
  }

  #end(text: string): void {
    if (!this.#call.res.destroyed) this.#call.res.write(text)
    this.#close()
  }

  #close(): void {
    clearTimeout(this.#linger)
    this.#phase = 'over'
    this.#call.res.end()
    this.#done()
  }
}

const endedEarly = 'The upstream ended the stream before it was complete.'
const tooLarge = 'The upstream sent an event that is too large.'
