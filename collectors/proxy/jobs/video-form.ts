// A video's job in the contract's form over an upstream that has OpenAI's: what the caller said in our words is asked again in
// OpenAI's when the upstream does not know ours, and the answer has our members added. Every other byte stays.

import { parseObject } from '../completion.ts'
import { JsonExchange } from '../json-exchange.ts'
import { membersOf } from '../json-splice.ts'
import type { JsonObject } from '../operation.ts'
import { asText } from '../plain.ts'
import type { Upstream, UpstreamRequest } from '../upstream.ts'
import { isObject } from '../usage.ts'
import { fileIdOf, secondsOf, videosPath } from './videos.ts'

const sizes: Record<string, string> = {
  '16:9': '1280x720',
  '9:16': '720x1280',
  '1:1': '1024x1024',
}

export function videosUpstream(upstream: Upstream): Upstream {
  return {
    ...upstream,
    call(request, handler) {
      if (request.operation.upstreamPath !== videosPath) return upstream.call(request, handler)
      const asked = askedOf(request)
      return new JsonExchange(upstream, {
        request,
        handler,
        change: {
          changed: (body) => withOurMembers(body, asked),
          // A picture that came along is in the form alone: without it this would be another video.
          again: () => (request.upload?.files.length ? undefined : inTheirWords(asked)),
        },
      })
    },
  }
}

/**
 * The answer with `duration_seconds` and `output_url`, where it has none of its own. An address of the upstream that needs its key
 * becomes ours; one that anybody can open stays.
 */
export function withOurMembers(body: Buffer, asked: JsonObject | undefined): Buffer {
  const answer = parseObject(body)
  if (!answer || typeof answer.id !== 'string') return body
  const fileId = fileIdOf(answer.output_url)
  const added: JsonObject = {}
  if (answer.duration_seconds === undefined) {
    added.duration_seconds = secondsOf(answer) ?? (asked && secondsOf(asked)) ?? null
  }
  const name = encodeURIComponent(answer.id)
  if (fileId !== null) added.output_url = `/v1/files/${fileId}/content`
  else if (answer.output_url == null) added.output_url = `/v1/videos/${name}/content`
  return spliceMembers(body, added)
}

/** Members of that name are replaced where they stand; others come last. */
function spliceMembers(body: Buffer, added: JsonObject): Buffer {
  let text = body.toString('utf8')
  for (const [name, value] of Object.entries(added)) {
    const members = membersOf(Buffer.from(text))
    const known = members.findLast((member) => member.name === name)
    const bytes = Buffer.from(text)
    const [start, end] = known
      ? [known.valueStart, known.valueEnd]
      : [members.at(-1)!.valueEnd, members.at(-1)!.valueEnd]
    const insert = known
      ? JSON.stringify(value)
      : `,${JSON.stringify(name)}:${JSON.stringify(value)}`
    text = bytes.toString('utf8', 0, start) + insert + bytes.toString('utf8', end)
  }
  return Buffer.from(text)
}

function askedOf(request: UpstreamRequest): JsonObject {
  if (request.upload) return Object.fromEntries(request.upload.fields)
  const asked: unknown = JSON.parse(request.body.toString()) // the proxy has parsed the same bytes before
  return isObject(asked) ? asked : {}
}

/** undefined when the caller used none of our words. */
function inTheirWords(asked: JsonObject): Buffer | undefined {
  const { duration_seconds: duration, aspect_ratio: ratio, ...kept } = asked
  if (duration === undefined && ratio === undefined) return undefined
  const size = sizes[asText(ratio)]
  return Buffer.from(
    JSON.stringify({
      ...kept,
      ...(duration === undefined ? {} : { seconds: asText(duration) }),
      ...(size === undefined ? {} : { size }),
    }),
  )
}
