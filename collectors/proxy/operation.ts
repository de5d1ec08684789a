// What one kind of inference is to the pipeline: how its request is read, its answer understood, its stream ended. The rows
// are in operations.ts; the pipeline knows none of them by name.

import type { IncomingMessage } from 'node:http'
import type { Caller } from '../../schemas/caller.ts'
import type { Fault } from '../../schemas/faults.ts'
import type { ServedPrompt } from '../../schemas/prompt.ts'
import type { Lease } from '../body.ts'
import type { Call } from './call.ts'
import type { Completion } from './completion.ts'
import type { KeepMedia } from './media/refs.ts'
import type { MediaStore } from './media/store.ts'
import type { Pieces } from './money.ts'
import type { LastBlock } from './streams/sse-blocks.ts'
import type { Upload } from './upload.ts'

export type JsonObject = Record<string, unknown>

export type Operation = {
  /** The value of `gen_ai.operation.name`; a run is called by it and by its model. */
  readonly name: string
  /** Ours; each is the same door. */
  readonly paths: readonly string[]
  /** Below the provider's base URL. */
  readonly upstreamPath: string
  /** The request's body, within its bounds. Throws what the caller is told; nothing has been admitted yet. */
  receive(req: IncomingMessage, at: Receiving): Promise<Received>
  /** Throws `invalid_request` for what no upstream could answer, or what this key may not do. */
  check(request: JsonObject, caller: Caller): void
  /** Whether the answer is to be a stream of events; absent: `stream` says so. */
  wantsStream?(request: JsonObject): boolean
  /** True where `prompt` names a version of the registry; elsewhere it is the text itself. */
  readonly namesPrompt: boolean
  /** True where upstreams keep prompts of their own: a name that is none of ours passes. */
  readonly passesPrompt?: boolean
  /** True where `image`, `images` and `mask`, or the files of a form, are pictures that the model reads. */
  readonly readsPictures?: boolean
  /** The request with a rendered prompt version in it; absent where no version is ever rendered. */
  withPrompt?(request: JsonObject, served: ServedPrompt): JsonObject
  /** True where a stream reports its usage only with `stream_options.include_usage`. */
  readonly usageOnDemand: boolean
  /** What a record commits to as input: the request without its transport keys. */
  committedInput(request: JsonObject): unknown
  /** What a run keeps as input: messages, or texts. */
  keptInput(request: JsonObject): unknown
  /** The same body for a target that knows the model by another name; absent where bodies are uploads, which do it themselves. */
  withModel?(body: Buffer, model: string): Buffer
  /** False where an answer is no text: it is committed to, and not kept in rows. */
  readonly keepsOutput: boolean
  /** What a run keeps of an answer that is committed to in another form; absent: the same. */
  keptOutput?(completion: Completion, keep: KeepMedia): unknown
  /** The tokens of output that the request allows; undefined: as many as the model makes. */
  outputTokensMax(request: JsonObject): number | undefined
  /** Use that is no tokens: at most, before the call; as it was, with its answer. */
  pieces?(asked: Asked, completion: Completion | undefined): Pieces | undefined
  /** What the answer is, in a sentence: `a chat completion`. */
  readonly answerName: string
  /** A whole answer of status 2xx. `undefined`: it is none of this kind; it passes, and the run is an error. */
  readWhole(body: Buffer, contentType: string): Completion | undefined
  /** False when a body of success cannot even be of this kind, such as a page: then it does not pass. */
  mayBeWhole(body: Buffer, contentType: string): boolean
  /** Of an answer that is no stream of events; absent: JSON. */
  readonly accept?: string
  /** True where an answer is bytes that leave as they come, rather than a body that is read before it leaves. */
  readonly passesBytes?: boolean
  /** True where an answer names work that goes on: it is never given again to another call. */
  readonly startsJob?: boolean
  /** Absent: never answered with server-sent events. */
  events?(call: Call): EventStream
}

/** What a request may hold while it is received and answered: memory, room on the disk, a place for its files. */
export type Receiving = { lease: Lease; disk: Lease; media: MediaStore; workspace: string }

/** A request's body as the upstream will get it, and as we read it. */
export type Received = {
  request: JsonObject
  /** Empty where the body is an upload. */
  body: Buffer
  contentType: string
  /** A body that is on the disk; whoever received it releases it. */
  upload?: Upload | undefined
}

export type Asked = { request: JsonObject; upload: Upload | undefined }

export type EventStream = {
  /** What is kept of the events, after they have gone to the client. */
  tap(): StreamTap
  readonly terminal: Terminal
  /** The end of a stream that cannot be completed: its error event with the comment line inside. */
  breakWith(fault: Fault, comment: string | undefined): string
}

/** Which block of a stream is its last; the receipt's comment goes into it. */
export type Terminal = {
  readonly bytesMax: number
  /** True when an unfinished block may become the last one: it then waits until it is whole, however large. */
  mayBecome(start: Buffer): boolean
  /** The block parted where the comment goes; undefined when the stream goes on. */
  read(block: Buffer): LastBlock | undefined
}

export type StreamTap = {
  take(block: Buffer): void
  /** What has come so far, in the form of an answer that was not streamed. */
  completion(): Completion
  /** Events that were not JSON; they went to the client as they came. */
  readonly malformed: number
  /** True once anything a model makes has come. */
  readonly started: boolean
}
