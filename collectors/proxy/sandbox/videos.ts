// The sandbox on videos: a job is queued when it is asked for and completed whenever it is looked at. It keeps nothing: what
// it needs to know later is in the job's name.

import { asNumber } from '../plain.ts'
import { json, type Replier, type Reply, readRequest, whole } from './reply.ts'

const secondsElse = 4
const secondsMax = 3600

export const videos: Replier = (request) => {
  const { asked, digest } = readRequest(request)
  const seconds = asNumber(asked.duration_seconds ?? asked.seconds ?? secondsElse)
  if (!(seconds > 0 && seconds <= secondsMax)) {
    return { mistake: `[sandbox] duration_seconds must be above 0 and at most ${secondsMax}.` }
  }
  const id = `video_sandbox_${digest}_${seconds}`
  return json(
    { ...job(id, seconds, 'queued'), model: String(asked.model), prompt: asked.prompt },
    digest,
  )
}

/** What stands at an address that a job named. */
export function found(path: string): Reply {
  const [, kind, id = '', digest = '', seconds = '', content] =
    /^\/(videos|files)\/((?:file_)?video_sandbox_([0-9a-f]{24})_([\d.]+))(\/content)?(?:\?.*)?$/.exec(
      path,
    ) ?? []
  if (kind === undefined || (kind === 'files' && !content)) {
    return { mistake: '[sandbox] There is nothing by that name.' }
  }
  if (content) return whole('video/mp4', clip(digest), digest)
  return json({ ...job(id, Number(seconds), 'completed'), completed_at: 0 }, digest)
}

function job(id: string, seconds: number, status: string): object {
  return {
    id,
    object: 'video.generation',
    status,
    duration_seconds: seconds,
    output_url: `/v1/files/file_${id}/content`,
    progress: status === 'completed' ? 100 : 0,
    created_at: 0,
    seconds: String(seconds),
    error: null,
  }
}

/** An MP4 file's first box, and one with a text: a file of that type, with nothing to play in it. */
function clip(digest: string): Buffer {
  return Buffer.concat([
    box('ftyp', Buffer.concat([Buffer.from('isom'), Buffer.alloc(4), Buffer.from('isom')])),
    box('free', Buffer.from(`[sandbox] No model was called. ${digest}`)),
  ])
}

function box(type: string, data: Buffer): Buffer {
  const head = Buffer.alloc(8)
  head.writeUInt32BE(8 + data.length)
  head.write(type, 4, 'latin1')
  return Buffer.concat([head, data])
}
