// The sandbox on the routes of sounds, pictures and videos: real files, as small as such files can be, that say nothing.

import { crc32, deflateSync } from 'node:zlib'
import { asNumber, asText } from '../plain.ts'
import { estimateTokens } from '../usage.ts'
import { clip, digestOf, events, json, type Replier, readRequest, typed, whole } from './reply.ts'

const wordsPerSecond = 3
const secondsMax = 600
const sampleRate = 8000
// One frame of MPEG-1 layer III at 32 kbit/s and 32 kHz, all of it silent: 36 ms in 144 bytes.
const mp3Frame = Buffer.concat([Buffer.from('fffb1804', 'hex'), Buffer.alloc(140)])
const mp3FrameMs = 36
const imagesMax = 10
const imagePixels = 16

/** Silence of the length that the text would take. */
export const speech: Replier = (request) => {
  const { asked, digest } = readRequest(request)
  const format = asText(asked.response_format ?? 'mp3')
  const text = asText(asked.input)
  const words = text.split(/\s+/).filter((word) => word !== '').length
  const seconds = Math.min(Math.max(words, 1) / wordsPerSecond, secondsMax)
  const sound = soundAs(format, seconds)
  if (!sound) return { mistake: '[sandbox] response_format must be mp3, wav or pcm.' }
  if (asked.stream_format !== 'sse') return whole(sound.contentType, sound.bytes, digest)
  const inputTokens = estimateTokens(text)
  const half = Math.ceil(sound.bytes.length / 2)
  const usage = { input_tokens: inputTokens, output_tokens: 0, total_tokens: inputTokens }
  return events(
    [
      ...[sound.bytes.subarray(0, half), sound.bytes.subarray(half)].map((piece) =>
        typed('speech.audio.delta', { audio: piece.toString('base64') }),
      ),
      typed('speech.audio.done', { usage }),
    ],
    digest,
  )
}

/** Says which file it was given. */
export const transcriptions: Replier = (request) => {
  const { asked, digest } = readRequest(request)
  const file = request.upload?.files.find(({ field }) => field === 'file')
  const name = clip(file?.filename ?? '', 80)
  const text = `[sandbox] No model was called. File: "${name}" (${file?.ref.bytes ?? 0} bytes)`
  const usage = { type: 'duration', seconds: 1 }
  if (asked.stream === 'true') {
    return events(
      [
        typed('transcript.text.delta', { delta: text }),
        typed('transcript.text.done', { text, usage }),
      ],
      digest,
    )
  }
  const format = asked.response_format ?? 'json'
  if (format === 'text') return whole('text/plain; charset=utf-8', `${text}\n`, digest)
  if (format === 'srt') {
    return whole('application/x-subrip', `1\n00:00:00,000 --> 00:00:01,000\n${text}\n`, digest)
  }
  if (format === 'vtt') {
    return whole('text/vtt; charset=utf-8', `WEBVTT\n\n00:00.000 --> 00:01.000\n${text}\n`, digest)
  }
  if (format === 'verbose_json') {
    const segments = [{ id: 0, start: 0, end: 1, text }]
    const language = asText(asked.language ?? 'english')
    return json({ task: 'transcribe', language, duration: 1, text, segments, usage }, digest)
  }
  if (format === 'json') return json({ text, usage }, digest)
  return { mistake: '[sandbox] response_format must be json, verbose_json, text, srt or vtt.' }
}

/** Small squares of one colour each, which follows from the prompt. */
export const images: Replier = (request) => {
  const { asked, digest } = readRequest(request)
  const count = asNumber(asked.n ?? 1)
  if (!Number.isInteger(count) || count < 1 || count > imagesMax) {
    return { mistake: `[sandbox] n must be 1 to ${imagesMax}.` }
  }
  const prompt = asText(asked.prompt)
  const pictures = Array.from({ length: count }, (_, i) =>
    squareOf(digestOf(`${prompt} ${i}`)).toString('base64'),
  )
  const inputTokens = estimateTokens(prompt)
  const usage = {
    input_tokens: inputTokens,
    input_tokens_details: { text_tokens: inputTokens, image_tokens: 0 },
    output_tokens: count,
    total_tokens: inputTokens + count,
  }
  if (request.stream) {
    const isEdit = request.operation.upstreamPath === '/images/edits'
    const type = isEdit ? 'image_edit.completed' : 'image_generation.completed'
    const done = pictures.map((b64_json) =>
      typed(type, { b64_json, created_at: 0, output_format: 'png', usage }),
    )
    return events(count === 1 ? done : [...done, 'data: [DONE]\n\n'], digest)
  }
  const data = pictures.map((b64_json) =>
    // Offline there is no other address at which a picture could be found.
    asked.response_format === 'url' ? { url: `data:image/png;base64,${b64_json}` } : { b64_json },
  )
  return json({ created: 0, data, usage }, digest)
}

function soundAs(
  format: string,
  seconds: number,
): { contentType: string; bytes: Buffer } | undefined {
  if (format === 'mp3') {
    const frames = Math.ceil((seconds * 1000) / mp3FrameMs)
    return { contentType: 'audio/mpeg', bytes: Buffer.concat(Array(frames).fill(mp3Frame)) }
  }
  const samples = Buffer.alloc(Math.ceil(seconds * sampleRate) * 2)
  if (format === 'pcm') return { contentType: 'audio/pcm', bytes: samples }
  if (format === 'wav') {
    return { contentType: 'audio/wav', bytes: Buffer.concat([wavHead(samples.length), samples]) }
  }
  return undefined
}

/** RIFF/WAVE, 16 bits, one channel. */
function wavHead(dataBytes: number): Buffer {
  const head = Buffer.alloc(44)
  head.write('RIFF', 0, 'latin1')
  head.writeUInt32LE(36 + dataBytes, 4)
  head.write('WAVEfmt ', 8, 'latin1')
  head.writeUInt32LE(16, 16)
  head.writeUInt16LE(1, 20)
  head.writeUInt16LE(1, 22)
  head.writeUInt32LE(sampleRate, 24)
  head.writeUInt32LE(sampleRate * 2, 28)
  head.writeUInt16LE(2, 32)
  head.writeUInt16LE(16, 34)
  head.write('data', 36, 'latin1')
  head.writeUInt32LE(dataBytes, 40)
  return head
}

function squareOf(digest: string): Buffer {
  const size = Buffer.alloc(13)
  size.writeUInt32BE(imagePixels, 0)
  size.writeUInt32BE(imagePixels, 4)
  // Eight bits a channel, red, green and blue.
  size[8] = 8
  size[9] = 2
  const colour = Buffer.from(digest.slice(0, 6), 'hex')
  const row = Buffer.concat([Buffer.of(0), ...Array(imagePixels).fill(colour)])
  const pixels = deflateSync(Buffer.concat(Array(imagePixels).fill(row)))
  return Buffer.concat([
    Buffer.from('89504e470d0a1a0a', 'hex'),
    pngChunk('IHDR', size),
    pngChunk('IDAT', pixels),
    pngChunk('IEND', Buffer.alloc(0)),
  ])
}

function pngChunk(type: string, data: Buffer): Buffer {
  const named = Buffer.concat([Buffer.from(type, 'latin1'), data])
  const length = Buffer.alloc(4)
  length.writeUInt32BE(data.length)
  const sum = Buffer.alloc(4)
  sum.writeUInt32BE(crc32(named))
  return Buffer.concat([length, named, sum])
}
