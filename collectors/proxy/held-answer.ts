// An answer that leaves whole: collected, signed, stored, then sent with its body as it came. Every failure before the
// first byte of a stream ends here too.

import type { IncomingHttpHeaders, ServerResponse } from 'node:http'
import { Fault } from '../../schemas/faults.ts'
import type { SignedRecord } from '../../schemas/record.ts'
import { isEncoded, pushAnswerHeaders, upstreamRequestIdOf } from './answer-headers.ts'
import type { Call, Outcome } from './call.ts'
import { emptyCompletion } from './completion.ts'
import { toErrorAnswer } from './error-body.ts'
import { keepWhole } from './idempotency.ts'
import { openingOf } from './openings.ts'
import type { OutboundError } from './outbound.ts'
import { addTiming, receiptHeaders } from './receipt.ts'
import { shownRoute } from './shown-names.ts'
import { type Meanwhile, storeFinal } from './store-call.ts'
import { answerBytesMax, type UpstreamCall, type UpstreamHandler } from './upstream.ts'
import { faultOf, upstreamFault } from './upstream-faults.ts'

const oneWriteBytesMax = 16 * 1024

/** Called once. With an error when something failed that should not have: the server's own door answers or cuts it off. */
export type Done = (error?: unknown) => void

type Answer = { status: number; headers: string[]; body: Buffer }

export class HeldAnswer implements UpstreamHandler {
  readonly #call: Call
  readonly #done: Done
  readonly #opening: Promise<SignedRecord | undefined> | undefined
  readonly #chunks: Buffer[] = []
  #bytes = 0
  #status = 0
  #headers: IncomingHttpHeaders = {}
  #upstream: UpstreamCall | undefined
  #settled = false

  /**
   * `done`: when the answer has been given to the socket and nothing is left to do. `opening`: the
   * record that was opened for this call, once it is durable; undefined when it could not be stored.
   */
  constructor(call: Call, done: Done, opening?: Promise<SignedRecord | undefined>) {
    this.#call = call
    this.#done = done
    this.#opening = opening
  }

  /**
   * Notes that the call has begun: the answer leaves after its final record, and so after this note. What the record says of the
   * request is reckoned here too, while the upstream thinks.
   */
  open(): void {
    const call = this.#call
    call.deps.intake.open(openingOf(call))
    call.committed = call.signer.commitInput(
      call.recordId,
      call.operation.committedInput(call.request),
    )
  }

  attach(upstream: UpstreamCall): void {
    this.#upstream = upstream
  }

  onHead(status: number, headers: IncomingHttpHeaders): void {
    this.#status = status
    this.#headers = headers
  }

  onData(chunk: Buffer): void {
    this.#bytes += chunk.length
    this.#chunks.push(chunk)
    if (this.#bytes <= answerBytesMax) return
    // A call that asked for a stream and got something else: the upstream's own cap is that of streams then.
    this.#upstream?.abort()
    this.#chunks.length = 0
    this.refuse(upstreamFault('The upstream answered with too large a body.', false))
  }

  onEnd(): void {
    const status = this.#status
    if (status === 401 || status === 403) {
      this.refuse(upstreamFault('The upstream did not accept our credentials.', false))
    } else if (status >= 300 && status < 400) {
      this.refuse(
        upstreamFault('The upstream answered with a redirect, which is not followed.', false),
      )
    } else if (status > 599) {
      this.refuse(upstreamFault('The upstream answered with a status that has no meaning.', false))
    } else if (isEncoded(this.#headers)) {
      this.refuse(
        upstreamFault('The upstream answered in an encoding that was not asked for.', false),
      )
    } else {
      const body = this.#chunks.length === 1 ? this.#chunks[0]! : Buffer.concat(this.#chunks)
      if (status >= 400) {
        const told = toErrorAnswer(status, body)
        this.#send({ ...this.#failed(), error: told.error }, () => this.#toAnswer(told.body))
      } else if (!this.#mayBeAnswer(body)) this.refuse(upstreamFault(noAnswer, false))
      else this.#send(this.#toOutcome(body), () => this.#toAnswer(body))
    }
  }

  onError(error: OutboundError): void {
    this.refuse(faultOf(error))
  }

  /** Answers with a fault of ours, which is recorded like any other answer. */
  refuse(fault: Fault): void {
    const outcome = { ...this.#failed(), error: { code: fault.code, message: fault.message } }
    outcome.httpStatus = fault.status
    this.#send(outcome, () => toFaultAnswer(fault))
  }

  /** The client has gone: the upstream is stopped, what was seen is kept, and nothing is sent. */
  leave(): void {
    if (this.#settled) return
    this.#settled = true
    this.#upstream?.abort()
    const outcome: Outcome = { ...this.#failed(), status: 'client_closed', httpStatus: 499 }
    outcome.recordStatus = 'client_closed'
    // An upstream that was at work when it was stopped may bill for that.
    outcome.answered = this.#upstream !== undefined
    settle(this.#store(outcome), this.#done)
  }

  /** This process ends: the upstream is stopped, and the client told that it may ask again. */
  interrupt(): void {
    if (this.#settled) return
    this.#upstream?.abort()
    const fault = stopping()
    const outcome: Outcome = { ...this.#failed(), status: 'interrupted', httpStatus: fault.status }
    outcome.recordStatus = 'interrupted'
    outcome.error = { code: fault.code, message: fault.message }
    outcome.answered = this.#upstream !== undefined
    this.#send(outcome, () => toFaultAnswer(fault))
  }

  #send(outcome: Outcome, toAnswer: () => Answer): void {
    if (this.#settled) return
    this.#settled = true
    settle(this.#storeAndSend(outcome, toAnswer), this.#done)
  }

  async #storeAndSend(outcome: Outcome, toAnswer: () => Answer): Promise<void> {
    let ready: Answer | undefined
    const signed = await this.#store(outcome, (signed) => {
      ready = this.#withReceipt(toAnswer(), signed)
    })
    // Nothing may be shown as recorded that is not; the caller can try again.
    const mayLeave = signed !== undefined || this.#call.isDropped
    const answer =
      signed && ready
        ? ready
        : this.#withReceipt(
            mayLeave ? toAnswer() : toFaultAnswer(new Fault('service_unavailable')),
            signed,
          )
    const { res } = this.#call
    if (!res.destroyed) {
      // An error under a status of success may pass like any other.
      const mayKeep = outcome.status === 'ok' || answer.status >= 400
      if (this.#call.claim && signed && mayKeep) await keepWhole(this.#call, answer)
      addTiming(answer.headers, this.#call)
      res.writeHead(answer.status, answer.headers)
      sendWhole(res, answer.body)
    }
  }

  #withReceipt({ status, headers, body }: Answer, signed: SignedRecord | undefined): Answer {
    const all = receiptHeaders(this.#call, signed, upstreamRequestIdOf(this.#headers))
    all.push(...headers, 'Content-Length', String(body.length))
    return { status, headers: all, body }
  }

  async #store(outcome: Outcome, meanwhile?: Meanwhile): Promise<SignedRecord | undefined> {
    try {
      const opening = this.#opening && (await this.#opening)
      return await storeFinal(this.#call, outcome, { opening, meanwhile })
    } catch (error) {
      noRecord(this.#call, error)
      return undefined
    }
  }

  #toOutcome(body: Buffer): Outcome {
    const outcome = this.#failed()
    const { operation } = this.#call
    const completion = operation.readWhole(body, contentTypeOf(this.#headers))
    if (!completion) {
      const message = `The upstream answered with something that is not ${operation.answerName}.`
      return { ...outcome, error: { code: 'upstream_error', message } }
    }
    const hasFailed = completion.error !== undefined
    return {
      ...outcome,
      status: hasFailed ? 'error' : 'ok',
      recordStatus: hasFailed ? 'upstream_error' : 'completed',
      error: completion.error,
      completion,
      answered: true,
    }
  }

  #mayBeAnswer(body: Buffer): boolean {
    return this.#call.operation.mayBeWhole(body, contentTypeOf(this.#headers))
  }

  #failed(): Outcome {
    return {
      status: 'error',
      recordStatus: 'upstream_error',
      error: undefined,
      httpStatus: this.#status,
      completion: emptyCompletion(),
      upstreamRequestId: upstreamRequestIdOf(this.#headers),
      answered: false,
      ttftMs: undefined,
    }
  }

  #toAnswer(body: Buffer): Answer {
    const headers: string[] = []
    const isTold = this.#status < 400 || isJson.test(contentTypeOf(this.#headers))
    const given = isTold ? this.#headers : { ...this.#headers, 'content-type': 'application/json' }
    pushAnswerHeaders(headers, given, this.#call.route.public)
    return { status: this.#status, headers, body }
  }
}

const isJson = /^application\/([a-z0-9.-]+\+)?json\b/i

// A page, or nothing, with a status of success: what a wrong base URL brings. A client's JSON parser would say it less well.
const noAnswer =
  'The upstream answered with something that is not JSON. Does its base URL end in /v1?'

/**
 * A small body leaves in one piece with its head: as latin1 its bytes stay what they are. Written before the end, because `end` with
 * a body has the socket send two, of which the second is empty.
 */
function sendWhole(res: ServerResponse, body: Buffer): void {
  const { socket } = res
  if (!socket || body.length === 0 || body.length > oneWriteBytesMax) {
    res.end(body)
    return
  }
  socket.cork()
  res.write(body.toString('latin1'), 'latin1')
  socket.uncork()
  res.end()
}

function contentTypeOf(headers: IncomingHttpHeaders): string {
  return headers['content-type'] ?? ''
}

/**
 * Nothing could be stored: counted, and shown as nothing. True when the call goes on all the same, because its route does
 * not require capture. An error that is no fault of the spool's is a defect, and thrown.
 */
export function noRecord(call: Call, error: unknown): boolean {
  if (!(error instanceof Fault)) throw error
  const { deps, route } = call
  call.isDropped = !route.captureRequired
  if (call.isDropped)
    deps.counters.count('proxy_captures_dropped_total', { route: shownRoute(call) })
  else deps.counters.count('proxy_records_lost_total', { code: error.code })
  return call.isDropped
}

/** Ends a call with its work: `done` is told of what nobody expected. */
export function settle(work: Promise<unknown>, done: Done): void {
  work.then(
    () => done(),
    (error) => done(error ?? new Error('A call failed without a reason.')),
  )
}

export function stopping(): Fault {
  return new Fault('service_unavailable', { message: 'The server is stopping.' })
}

function toFaultAnswer(fault: Fault): Answer {
  const headers = ['Content-Type', 'application/json']
  if (fault.retryAfterS !== undefined) headers.push('Retry-After', String(fault.retryAfterS))
  for (const [name, value] of Object.entries(fault.detail.headers ?? {})) headers.push(name, value)
  return { status: fault.status, headers, body: Buffer.from(JSON.stringify(fault.toBody())) }
}
