// A binary answer on its way through: its bytes leave as they come, under the signature of the opening record, and are hashed
// as they pass. The last of them waits for the final record, which is then at GET /v1/vaas/{id}.

import type { IncomingHttpHeaders } from 'node:http'
import { Fault } from '../../schemas/faults.ts'
import type { SignedRecord } from '../../schemas/record.ts'
import { isEncoded, pushAnswerHeaders, upstreamRequestIdOf } from './answer-headers.ts'
import type { Call, Outcome } from './call.ts'
import { type Completion, emptyCompletion } from './completion.ts'
import { type Done, HeldAnswer, noRecord, settle, stopping } from './held-answer.ts'
import { keepLast } from './idempotency.ts'
import type { MediaPiece } from './media/store.ts'
import type { OutboundError } from './outbound.ts'
import { addTiming, receiptHeaders } from './receipt.ts'
import { storeFinal } from './store-call.ts'
import { OpeningGate } from './streams/opening-gate.ts'
import type { UpstreamCall, UpstreamHandler } from './upstream.ts'
import { faultOf } from './upstream-faults.ts'

/** waiting: nothing has left. held: it became a JSON answer. passing: bytes leave. over: nothing is left to do but the end. */
type Phase = 'waiting' | 'held' | 'passing' | 'over'

export class PassedAnswer implements UpstreamHandler {
  readonly #call: Call
  readonly #done: Done
  #gate!: OpeningGate // there is nothing before `open`
  readonly #piece: MediaPiece
  readonly #onDrain = () => this.#upstream?.resume()
  #upstream: UpstreamCall | undefined
  #held: HeldAnswer | undefined
  #phase: Phase = 'waiting'
  #headers: IncomingHttpHeaders = {}
  /** What came last; it leaves when more has come, or when the record is durable. */
  #last: Buffer | undefined
  #ttftMs: number | undefined

  /** `done` is called once, when nothing is left to do. */
  constructor(call: Call, done: Done) {
    this.#call = call
    this.#done = done
    this.#piece = call.deps.media.begin(call.caller.workspace)
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
    // An error that came with a success is text too, and is for the other kind of answer to tell.
    const isText = /^(application\/json|text\/)/i.test(typeOf(headers))
    if (status !== 200 || isText || isEncoded(headers)) this.#hold().onHead(status, headers)
  }

  onData(chunk: Buffer): void {
    if (this.#phase === 'held') this.#held?.onData(chunk)
    if (this.#phase !== 'waiting' && this.#phase !== 'passing') return
    if (!this.#gate.isOpen) {
      // The rest stays in the upstream's socket.
      this.#upstream?.pause()
      this.#gate.wait(() => this.onData(chunk))
      this.#gate.wait(() => this.#upstream?.resume())
      return
    }
    this.#ttftMs ??= performance.now() - this.#call.startedTick
    this.#piece.write(chunk)
    const before = this.#last
    this.#last = chunk
    if (!before) return
    if (this.#phase === 'waiting') this.#begin(this.#gate.record)
    const { res, claim } = this.#call
    claim?.push(before)
    if (res.write(before)) return
    this.#upstream?.pause()
    res.once('drain', this.#onDrain)
  }

  onEnd(): void {
    if (this.#gate.isWaiting) this.#gate.wait(() => this.onEnd())
    else if (this.#phase === 'held') this.#held?.onEnd()
    else if (this.#phase === 'waiting' && !this.#last) this.#hold().refuse(nothing())
    else if (this.#phase === 'waiting' || this.#phase === 'passing') {
      settle(this.#complete(), this.#done)
    }
  }

  onError(error: OutboundError): void {
    if (this.#gate.isWaiting) this.#gate.wait(() => this.onError(error))
    else if (this.#phase === 'held') this.#held?.onError(error)
    else if (this.#phase === 'waiting') this.#hold().refuse(faultOf(error))
    else if (this.#phase === 'passing') settle(this.#breakOff(faultOf(error)), this.#done)
  }

  /** The client has gone: the upstream is stopped, and the run is kept with what was seen. */
  leave(): void {
    if (this.#phase === 'held') this.#held?.leave()
    else if (this.#phase === 'waiting' || this.#phase === 'passing') {
      this.#phase = 'over'
      this.#upstream?.abort()
      settle(this.#store('client_closed', undefined), this.#done)
    }
  }

  /** This process ends: what has come is kept, and the connection breaks where the bytes stop. */
  interrupt(): void {
    if (this.#phase === 'held') this.#held?.interrupt()
    else if (this.#phase === 'waiting') this.#hold().interrupt()
    else if (this.#phase === 'passing') {
      this.#upstream?.abort()
      settle(this.#breakOff(stopping(), 'interrupted'), this.#done)
    }
  }

  #begin(signed: SignedRecord): void {
    const { res, isDropped } = this.#call
    const shown = isDropped ? undefined : signed
    const headers = receiptHeaders(this.#call, shown, upstreamRequestIdOf(this.#headers))
    pushAnswerHeaders(headers, this.#headers, this.#call.route.public)
    const length = this.#headers['content-length']
    // With it a client knows by itself whether all of it has come.
    if (length !== undefined && /^\d{1,15}$/.test(length)) headers.push('Content-Length', length)
    addTiming(headers, this.#call)
    this.#call.claim?.begin(200, headers)
    res.writeHead(200, headers)
    this.#phase = 'passing'
  }

  async #complete(): Promise<void> {
    const isWhole = this.#phase === 'waiting'
    this.#phase = 'over'
    const signed = await this.#store('completed', undefined)
    const { res, isDropped } = this.#call
    if (res.destroyed) return
    if (!signed && !isDropped) {
      if (isWhole) await this.#answerUnrecorded()
      else res.destroy()
      return
    }
    // All of it was here before any of it left: then the final signature leaves with it.
    if (isWhole) this.#begin(signed ?? this.#gate.record)
    this.#phase = 'over'
    if (signed) await keepLast(this.#call, this.#last)
    res.end(this.#last)
  }

  #answerUnrecorded(): Promise<void> {
    return new Promise((resolve, reject) => {
      const done: Done = (error) => (error === undefined ? resolve() : reject(error))
      new HeldAnswer(this.#call, done, this.#gate.stored).refuse(new Fault('service_unavailable'))
    })
  }

  /** Bytes have left under a status of 200: only a broken connection tells that they are not all. */
  async #breakOff(fault: Fault, status: 'truncated' | 'interrupted' = 'truncated'): Promise<void> {
    this.#phase = 'over'
    await this.#store(status, { code: fault.code, message: fault.message })
    this.#call.res.destroy()
  }

  async #store(
    recordStatus: 'completed' | 'client_closed' | 'truncated' | 'interrupted',
    error: Outcome['error'],
  ): Promise<SignedRecord | undefined> {
    const outcome: Outcome = {
      status: recordStatus === 'completed' ? 'ok' : recordStatus,
      recordStatus,
      error,
      httpStatus: 200,
      completion: this.#completion(),
      upstreamRequestId: upstreamRequestIdOf(this.#headers),
      answered: this.#upstream !== undefined,
      ttftMs: this.#ttftMs,
    }
    try {
      return await storeFinal(this.#call, outcome, { opening: await this.#gate.stored })
    } catch (failure) {
      noRecord(this.#call, failure)
      return undefined
    }
  }

  /** Committed to and kept: the hash of what came. The bytes are kept where texts are. */
  #completion(): Completion {
    const media = this.#piece.name(typeOf(this.#headers))
    if (this.#call.capture === 'full') this.#piece.keep()
    else this.#piece.discard()
    return { ...emptyCompletion(), output: { media }, hasContent: media.bytes > 0 }
  }

  #refuse(error: unknown): void {
    if (this.#phase !== 'waiting') return
    this.#upstream?.abort()
    this.#hold().refuse(new Fault('service_unavailable', {}, { cause: error }))
  }

  #hold(): HeldAnswer {
    this.#phase = 'held'
    this.#piece.discard()
    this.#held = new HeldAnswer(this.#call, this.#done, this.#gate.stored)
    if (this.#upstream) this.#held.attach(this.#upstream)
    return this.#held
  }
}

const nothing = () =>
  new Fault('upstream_error', { message: 'The upstream answered with nothing.' })

function typeOf(headers: IncomingHttpHeaders): string {
  return headers['content-type'] ?? 'application/octet-stream'
}
