// The row of videos: a request starts a job; its answer is told in the form of the contract, whatever the upstream adds.

import { Fault } from '../../../schemas/faults.ts'
import { type Completion, emptyCompletion, parseObject, readError, takeIds } from '../completion.ts'
import { receiveFormOrJson } from '../form-rows.ts'
import { json, needs } from '../json-rows.ts'
import type { JsonObject, Operation } from '../operation.ts'
import { asNumber, asSeconds, asText, secondsMax } from '../plain.ts'
import { isObject } from '../usage.ts'

export const videosPath = '/videos'
// As long as an upstream makes a video of which nobody says how long it is to be: none of today makes it longer.
const secondsUnsaid = 10

export const videos: Operation = {
  ...json,
  name: 'generate_content',
  paths: ['/v1/videos', '/v1/video/generate'],
  upstreamPath: videosPath,
  // The SDKs send forms; the source documents show JSON.
  receive: receiveFormOrJson,
  check,
  wantsStream: () => false,
  namesPrompt: false,
  usageOnDemand: false,
  keptInput: (request) => request.prompt,
  keepsOutput: true,
  keptOutput: ({ output }) => toKeptVideo(output),
  outputTokensMax: () => 0,
  pieces: ({ request }, completion) => ({
    videoSeconds: saidIn(completion?.output) ?? secondsOf(request) ?? secondsUnsaid,
  }),
  answerName: 'a video job',
  startsJob: true,
  readWhole: readVideo,
}

function check(request: JsonObject): void {
  needs(request, 'prompt')
  const { duration_seconds: ours, seconds } = request
  for (const [param, value] of Object.entries({ duration_seconds: ours, seconds })) {
    if (value === undefined || value === null || asSeconds(value) !== undefined) continue
    const message = `${param} must be a number above 0, and at most ${secondsMax}.`
    throw new Fault('invalid_request', { message, param })
  }
  // An upstream would heed one of them, and the price be that of the other.
  if (ours != null && seconds != null && asNumber(ours) !== asNumber(seconds)) {
    const message = 'duration_seconds and seconds say two different lengths.'
    throw new Fault('invalid_request', { message, param: 'seconds' })
  }
}

function saidIn(output: unknown): number | undefined {
  return isObject(output) ? secondsOf(output) : undefined
}

/** Words of several APIs for a job that will not change any more. */
const overStates = new Set(['completed', 'succeeded'])
const failedStates = new Set(['failed', 'error', 'cancelled', 'canceled', 'expired'])

export type VideoState = { isOver: boolean; hasFailed: boolean }

export function stateOf({ status }: JsonObject): VideoState {
  const hasFailed = failedStates.has(asText(status))
  return { hasFailed, isOver: hasFailed || overStates.has(asText(status)) }
}

/** undefined when the body is no job. */
function readVideo(body: Buffer): Completion | undefined {
  const answer = parseObject(body)
  if (!answer || typeof answer.id !== 'string' || answer.id === '') return undefined
  const completion = emptyCompletion()
  takeIds(completion, answer)
  completion.output = answer
  completion.job = { id: answer.id, fileId: fileIdOf(answer.output_url), ...stateOf(answer) }
  if (isObject(answer.error)) completion.error = readError(answer.error)
  return completion
}

/** Where the video is, or will be. */
export function toKeptVideo(answer: unknown): unknown {
  if (!isObject(answer)) return undefined
  const { output_url: uri, status } = answer
  const content = [{ type: 'uri', modality: 'video', uri, status }]
  return { choices: [{ index: 0, message: { role: 'assistant', content } }] }
}

/** By whichever of the two names was used; texts come from forms. */
export function secondsOf({ duration_seconds: ours, seconds }: JsonObject): number | undefined {
  return asSeconds(ours ?? seconds)
}

/** Of an address of ours, or of an upstream that has the same routes. */
export function fileIdOf(url: unknown): string | null {
  const [, id] = /\/files\/([\w.-]{1,256})\/content$/.exec(typeof url === 'string' ? url : '') ?? []
  return id ?? null
}
