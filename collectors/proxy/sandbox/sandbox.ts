// The provider that answers when none is configured: in this process, offline, the same answer to the same request. It is
// no model and says so in every answer. What it can be told to do, for trying and for tests, is in README.md.

import type { IncomingHttpHeaders } from 'node:http'
import { OutboundError } from '../outbound.ts'
import { responsesUpstream } from '../responses/translated.ts'
import type {
  Upstream,
  UpstreamCall,
  UpstreamGet,
  UpstreamHandler,
  UpstreamRequest,
} from '../upstream.ts'
import { images, speech, transcriptions } from './media.ts'
import type { Replier, Reply } from './reply.ts'
import { answerJson, answerStream, readSandboxRequest } from './sandbox-answer.ts'
import { emptySimulation, readSimulation, type Simulation } from './sandbox-simulation.ts'
import { completions, embeddings } from './text.ts'
import { found, videos } from './videos.ts'

export const sandboxProvider = 'sandbox'

export function sandboxUpstream(): Upstream {
  // It speaks the chat route only; Responses are translated, as for any other upstream that has none.
  return responsesUpstream(chatSandbox, false)
}

const chatSandbox: Upstream = {
  provider: sandboxProvider,
  call(request, handler) {
    const play = new SandboxCall(handler)
    play.start(request.clientHeaders, (simulation) => answerTo(request, simulation))
    return play
  },
  get(request, handler) {
    const play = new SandboxCall(handler)
    play.start(request.clientHeaders, (simulation) => getAnswerTo(request, simulation))
    return play
  },
}

/** One answer, played piece by piece the way a socket would deliver it: it can be paused, resumed and aborted. */
class SandboxCall implements UpstreamCall {
  readonly #handler: UpstreamHandler
  #pieces: Buffer[] = []
  #at = 0
  #broken = false
  #paused = false
  #playing = false
  #over = false
  #paceMs = 0
  #isWaiting = false
  #cancel: () => void = () => {}

  constructor(handler: UpstreamHandler) {
    this.#handler = handler
  }

  start(clientHeaders: IncomingHttpHeaders, toAnswer: (simulation: Simulation) => Answer): void {
    const given = readSimulation(clientHeaders['x-sandbox'])
    const simulation = 'mistake' in given ? emptySimulation : given
    this.#paceMs = simulation.paceMs
    const answer = 'mistake' in given ? refusal(400, given.mistake) : toAnswer(given)
    this.#pieces = answer.pieces
    this.#broken = answer.broken
    // Never before `call` has returned, also without a delay.
    this.#after(simulation.latencyMs, () => {
      this.#handler.onHead(answer.status, answer.headers)
      this.#after(simulation.ttftMs, () => this.#play())
    })
  }

  pause(): void {
    this.#paused = true
  }

  resume(): void {
    if (!this.#paused) return
    this.#paused = false
    if (this.#playing && !this.#isWaiting) this.#after(0, () => this.#play())
  }

  abort(): void {
    this.#over = true
    this.#cancel()
  }

  #play(): void {
    this.#playing = true
    while (!this.#over && !this.#paused) {
      const piece = this.#pieces[this.#at++]
      if (!piece) {
        this.#over = true
        if (this.#broken)
          this.#handler.onError(new OutboundError('broken', 'The connection broke.'))
        else this.#handler.onEnd()
        return
      }
      this.#handler.onData(piece)
      if (this.#paceMs > 0) {
        this.#after(this.#paceMs, () => this.#play())
        return
      }
    }
  }

  #after(ms: number, then: () => void): void {
    if (this.#over) return
    this.#isWaiting = true
    const go = () => {
      this.#isWaiting = false
      then()
    }
    if (ms > 0) {
      const timer = setTimeout(go, ms)
      this.#cancel = () => clearTimeout(timer)
    } else {
      const immediate = setImmediate(go)
      this.#cancel = () => clearImmediate(immediate)
    }
  }
}

type Answer = {
  status: number
  headers: Record<string, string>
  pieces: Buffer[]
  /** True when the connection breaks after the last piece. */
  broken: boolean
}

function answerTo(request: UpstreamRequest, simulation: Simulation): Answer {
  if (simulation.error !== undefined) {
    return refusal(simulation.error, `[sandbox] simulated error ${simulation.error}`)
  }
  const reply = repliers.get(request.operation.upstreamPath)?.(request) ?? unknownRoute
  if ('mistake' in reply) return refusal(400, reply.mistake)
  const { truncate } = simulation
  const headers = { 'content-type': reply.contentType, 'x-request-id': reply.requestId }
  const pieces = truncate === undefined ? reply.pieces : cut(reply, truncate)
  return { status: 200, headers, pieces, broken: truncate !== undefined }
}

function getAnswerTo(request: UpstreamGet, simulation: Simulation): Answer {
  if (simulation.error !== undefined) {
    return refusal(simulation.error, `[sandbox] simulated error ${simulation.error}`)
  }
  const reply = found(request.path)
  if ('mistake' in reply) return refusal(404, reply.mistake)
  const headers = { 'content-type': reply.contentType, 'x-request-id': reply.requestId }
  return { status: 200, headers, pieces: reply.pieces, broken: false }
}

const unknownRoute: Reply = { mistake: '[sandbox] There is no such route.' }

const repliers = new Map<string, Replier>([
  ['/chat/completions', chat],
  ['/completions', completions],
  ['/embeddings', embeddings],
  ['/audio/speech', speech],
  ['/audio/transcriptions', transcriptions],
  ['/images/generations', images],
  ['/images/edits', images],
  ['/videos', videos],
])

/** So many events of a stream, or bytes of anything else. */
function cut({ pieces, isStream }: Exclude<Reply, { mistake: string }>, at: number): Buffer[] {
  return isStream ? pieces.slice(0, at) : [Buffer.concat(pieces).subarray(0, at)]
}

function chat(request: UpstreamRequest): Reply {
  const asked = readSandboxRequest(request.body)
  if ('mistake' in asked) return asked
  const { requestId, stream } = asked
  return stream
    ? {
        contentType: 'text/event-stream; charset=utf-8',
        pieces: answerStream(asked),
        isStream: true,
        requestId,
      }
    : { contentType: 'application/json', pieces: [answerJson(asked)], isStream: false, requestId }
}

function refusal(status: number, message: string): Answer {
  const type =
    status === 429 ? 'rate_limit_error' : status < 500 ? 'invalid_request_error' : 'api_error'
  const error = { message, type, param: null, code: `sandbox_${status}` }
  const headers: Record<string, string> = { 'content-type': 'application/json' }
  if (status === 429 || status === 503) headers['retry-after'] = '1'
  return { status, headers, pieces: [Buffer.from(JSON.stringify({ error }))], broken: false }
}
