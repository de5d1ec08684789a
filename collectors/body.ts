// A request body, whole, within its bounds: bytes, time, encodings, and what all bodies together may hold.
// Nothing is given to the caller before the body has ended as it should.

import type { IncomingMessage } from 'node:http'
import { gunzip } from 'node:zlib'
import { Fault } from '../schemas/faults.ts'
import { neverContinued, sendContinue } from './continue.ts'

// What a body claims to unpack to is taken in one step, if it is believable: fewer turns of the loop, nothing to put together.
const gunzipStepBytesMin = 1024
const gunzipStepBytesMax = 1024 * 1024
// Deflate packs at most 1,032 to 1; honest telemetry some 5 to 30 to 1.
const believedRatio = 64
// What is left of a refused body is read and dropped, so that the sender sees the answer; beyond this it is cut off.
const discardBytesMax = 64 * 1024 * 1024
const discardDeadlineMs = 10_000

export type BodyLimits = {
  /** Of the body itself, that is after decompression. */
  limitBytes: number
  /** Of a compressed body as it arrives; the same as `limitBytes` when absent. */
  compressedBytesMax?: number
  deadlineMs: number
  /** What Content-Encoding may say besides `identity`. */
  encodings: readonly 'gzip'[]
  /** Where the body's bytes are counted; the caller releases it when the body is no longer used. */
  lease?: Lease
}

/** A body as it came. */
export type Received = { bytes: Buffer; isGzip: boolean }

/** Throws payload_too_large, unsupported_media_type, timeout, invalid_request (cut off, not gzip) or service_unavailable. */
export async function readBody(req: IncomingMessage, limits: BodyLimits): Promise<Buffer> {
  const { bytes, isGzip } = await receiveBody(req, limits)
  return isGzip ? inflate(bytes, limits) : bytes
}

/** The first half of `readBody`, for who can tell something by the bytes as they came. */
export async function receiveBody(req: IncomingMessage, limits: BodyLimits): Promise<Received> {
  try {
    const isGzip = readEncoding(req, limits.encodings) === 'gzip'
    const arrivingBytesMax = isGzip ? limits.compressedBytesMax : undefined
    const limitBytes = arrivingBytesMax ?? limits.limitBytes
    return { bytes: await receive(req, { ...limits, limitBytes }), isGzip }
  } catch (error) {
    discardRest(req)
    throw error
  }
}

/** The second half. */
export async function unpackBody({ bytes, isGzip }: Received, limits: BodyLimits): Promise<Buffer> {
  return isGzip ? inflate(bytes, limits) : bytes
}

/** A bound on the bytes of all bodies in flight. Take before reading, give back when the request is answered. */
export class ByteBudget {
  readonly bytesMax: number
  held = 0

  constructor(bytesMax: number) {
    this.bytesMax = bytesMax
  }

  lease(): Lease {
    return new Lease(this)
  }
}

export class Lease {
  readonly #budget: ByteBudget
  #bytes = 0

  constructor(budget: ByteBudget) {
    this.#budget = budget
  }

  /** Raises what is held to `bytes` in all; throws service_unavailable when there is no room for it. */
  hold(bytes: number): void {
    const more = bytes - this.#bytes
    if (more <= 0) return
    if (this.#budget.held + more > this.#budget.bytesMax)
      throw new Fault('service_unavailable', { message: 'Too many large requests at once.' })
    this.#budget.held += more
    this.#bytes = bytes
  }

  release(): void {
    this.#budget.held -= this.#bytes
    this.#bytes = 0
  }
}

function readEncoding(req: IncomingMessage, allowed: readonly 'gzip'[]): 'gzip' | 'identity' {
  const given = (req.headers['content-encoding'] ?? '').trim().toLowerCase()
  if (given === '' || given === 'identity') return 'identity'
  if ((given === 'gzip' || given === 'x-gzip') && allowed.includes('gzip')) return 'gzip'
  throw new Fault('unsupported_media_type', {
    message: `Content-Encoding must be ${[...allowed, 'identity'].join(' or ')}.`,
    headers: { 'Accept-Encoding': allowed.length > 0 ? allowed.join(', ') : 'identity' },
  })
}

function receive(req: IncomingMessage, limits: BodyLimits): Promise<Buffer> {
  const { limitBytes, lease } = limits
  const declared = Number(req.headers['content-length'] ?? 0)
  if (declared > limitBytes) throw tooLarge(limitBytes)
  lease?.hold(declared)
  sendContinue(req)
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = []
    let bytes = 0
    let isSettled = false
    const settle = (error?: Error): void => {
      isSettled = true
      clearTimeout(timer)
      if (error) {
        req.off('data', onData).off('end', onEnd).off('close', onClose).off('error', onClose)
        reject(error)
      } else resolve(chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks, bytes))
    }
    const onData = (chunk: Buffer): void => {
      bytes += chunk.length
      if (bytes > limitBytes) {
        settle(tooLarge(limitBytes))
        return
      }
      try {
        lease?.hold(bytes)
      } catch (error) {
        settle(error as Fault) // hold throws nothing else
        return
      }
      chunks.push(chunk)
    }
    const onEnd = (): void => settle(req.complete ? undefined : cutOff())
    // After the end it says nothing: taking four listeners off each request costs more than hearing them once.
    const onClose = (): void => {
      if (!isSettled) settle(cutOff())
    }
    const timer = setTimeout(() => settle(new Fault('timeout')), limits.deadlineMs)
    req.on('data', onData).on('end', onEnd).on('close', onClose).on('error', onClose)
    if (req.destroyed && !req.readableEnded) onClose()
  })
}

/** Off the loop, step by step; stops at the limit. Several members are one body; anything after them is an error. */
function inflate(received: Buffer, limits: BodyLimits): Promise<Buffer> {
  const bytesMax = limits.limitBytes
  const options = { maxOutputLength: bytesMax, chunkSize: stepBytesOf(received) }
  return new Promise((resolve, reject) => {
    gunzip(received, options, (error: NodeJS.ErrnoException | null, body) => {
      if (error?.code === 'ERR_BUFFER_TOO_LARGE') reject(tooLarge(bytesMax, ' after decompression'))
      else if (error) reject(new Fault('invalid_request', { message: 'The body is not gzip.' }))
      else {
        try {
          limits.lease?.hold(received.length + body.length)
          resolve(body)
        } catch (full) {
          reject(full)
        }
      }
    })
  })
}

/** The last four bytes of a gzip member: what it unpacks to. A sender may say anything there, so it only guides the allocation. */
function stepBytesOf(received: Buffer): number {
  const claimed = received.length >= 4 ? received.readUInt32LE(received.length - 4) : 0
  const believed = Math.min(claimed, received.length * believedRatio, gunzipStepBytesMax)
  // One more than is needed: a step that ends full asks for another.
  return Math.max(believed + 1, gunzipStepBytesMin)
}

function tooLarge(bytesMax: number, when = ''): Fault {
  return new Fault('payload_too_large', {
    message: `The body may have at most ${bytesMax} bytes${when}.`,
  })
}

function cutOff(): Fault {
  return new Fault('invalid_request', { message: 'The body ended early.' })
}

/** Lets the sender finish within bounds; closing at once could destroy the answer on its way. */
export function discardRest(req: IncomingMessage): void {
  if (req.destroyed || req.readableEnded || neverContinued(req)) return
  let bytes = 0
  const timer = setTimeout(() => req.destroy(), discardDeadlineMs).unref()
  req.on('data', (chunk: Buffer) => {
    bytes += chunk.length
    if (bytes > discardBytesMax) req.destroy()
  })
  req.once('close', () => clearTimeout(timer))
  req.on('error', () => {}) // the request is refused already; how its sender ends changes nothing
  req.resume()
}
