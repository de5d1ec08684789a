// A multipart request: its bytes go to a file of ours as they come, and its fields are read as they pass. The upstream gets
// the same bytes from that file. They are not passed on while they come: the model, which decides route, price and budget, may
// stand behind the sound, and a second target could not be asked with bytes that are gone.

import { createReadStream } from 'node:fs'
import { type FileHandle, open, rm } from 'node:fs/promises'
import type { IncomingMessage } from 'node:http'
import { Readable } from 'node:stream'
import busboy, { type Busboy } from 'busboy'
import { Fault } from '../../schemas/faults.ts'
import { discardRest, type Lease } from '../body.ts'
import { sendContinue } from '../continue.ts'
import type { MediaPiece, MediaRef, MediaStore } from './media/store.ts'
import { findField } from './multipart-field.ts'

// Four times what OpenAI takes of a sound; others take more than it does.
const uploadBytesMax = 100 * 1024 * 1024
const uploadDeadlineMs = 300_000
/** Of all uploads under way, on the disk. */
export const uploadsBytesMax = 4 * 1024 * 1024 * 1024
const limits = { fieldSize: 1024 * 1024, fields: 64, files: 16, parts: 80 }
const fieldNameCharsMax = 128
const filenameCharsMax = 256
const headBytes = 4096

export type UploadedFile = {
  field: string
  filename: string
  ref: MediaRef
  /** Its first bytes, for what a header says. */
  head: Buffer
  piece: MediaPiece
}

/** A body on the disk, which can be read any number of times until it is released. */
export type Upload = {
  readonly bytes: number
  readonly fields: readonly (readonly [string, string])[]
  readonly files: readonly UploadedFile[]
  open(): Readable
  /** The same form with another text in its `model`. */
  withModel(model: string): Upload
  /** Removes it. A file that nobody kept is discarded. */
  release(): Promise<void>
}

/** Throws invalid_request, payload_too_large, timeout, unsupported_media_type or service_unavailable; nothing is left behind. */
export async function receiveUpload(
  req: IncomingMessage,
  to: { media: MediaStore; workspace: string; disk: Lease },
): Promise<Upload> {
  const declared = Number(req.headers['content-length'] ?? 0)
  const form = new Form(to.media, to.workspace)
  const path = await to.media.newPath()
  let file: FileHandle | undefined
  try {
    if (declared > uploadBytesMax) throw tooLarge()
    to.disk.hold(declared)
    form.start(req)
    file = await open(path, 'wx', 0o600)
    sendContinue(req)
    const bytes = await receive(req, { file, form, disk: to.disk })
    await form.end()
    return toUpload(path, bytes, form)
  } catch (error) {
    discardRest(req)
    form.discard()
    await rm(path, { force: true })
    throw toRefusal(error)
  } finally {
    await file?.close()
  }
}

function toUpload(path: string, bytes: number, form: Form): Upload {
  const { boundary, fields, files } = form
  const upload: Upload = {
    bytes,
    fields,
    files,
    open: () => createReadStream(path),
    withModel(model) {
      const old = fields.find(([name]) => name === 'model')?.[1] ?? ''
      return {
        ...upload,
        bytes: bytes + Buffer.byteLength(model) - Buffer.byteLength(old),
        open: () => Readable.from(replaced(path, { boundary, field: 'model', old, text: model })),
      }
    },
    async release() {
      for (const { piece } of files) piece.discard()
      await rm(path, { force: true })
    },
  }
  return upload
}

async function* replaced(
  path: string,
  to: { boundary: string; field: string; old: string; text: string },
): AsyncGenerator<Buffer> {
  const range = await findField(path, to.boundary, to.field)
  // The model that was read is the one that has a route and a price: never is another one sent.
  if (range?.text !== to.old) throw new Error(`The field ${to.field} is not where it was read.`)
  if (range.start > 0) yield* createReadStream(path, { end: range.start - 1 })
  yield Buffer.from(to.text)
  yield* createReadStream(path, { start: range.end })
}

/** The fields and files of one form, as they pass. */
class Form {
  readonly fields: [string, string][] = []
  readonly files: UploadedFile[] = []
  boundary = ''
  readonly #media: MediaStore
  readonly #workspace: string
  readonly #pieces: MediaPiece[] = []
  #parser: Busboy | undefined
  #mistake: Error | undefined
  #closed: Promise<void> | undefined

  constructor(media: MediaStore, workspace: string) {
    this.#media = media
    this.#workspace = workspace
  }

  start(req: IncomingMessage): void {
    const type = req.headers['content-type'] ?? ''
    if (!/^multipart\/form-data\s*;/i.test(type)) {
      throw new Fault('unsupported_media_type', { message: 'Send multipart/form-data.' })
    }
    const [, quoted, plain] = /;\s*boundary=(?:"([^"]+)"|([^\s;]+))/i.exec(type) ?? []
    this.boundary = quoted ?? plain ?? ''
    if (!/^[\x20-\x7e]{1,70}$/.test(this.boundary)) throw bad('The boundary is missing or not one.')
    const parser = busboy({ headers: { 'content-type': type }, defParamCharset: 'utf8', limits })
    this.#parser = parser
    this.#closed = new Promise((resolve) => parser.on('close', resolve))
    const refuse = (message: string) => () => {
      this.#mistake ??= bad(message)
    }
    parser
      .on('partsLimit', refuse(`At most ${limits.parts} parts are taken.`))
      .on('filesLimit', refuse(`At most ${limits.files} files are taken.`))
      .on('fieldsLimit', refuse(`At most ${limits.fields} fields are taken.`))
      .on('error', (error) => {
        this.#mistake ??= bad(`The form is not well formed: ${error.message}.`)
      })
      .on('field', (name, value, info) => this.#addField(name, value, info.valueTruncated))
      .on('file', (name, file, info) => this.#addFile(name, file, info))
  }

  /** Takes a chunk, and waits until the parser wants the next one. */
  async write(chunk: Buffer): Promise<void> {
    const parser = this.#parser
    if (this.#mistake || !parser) throw this.#mistake ?? new Error('The form was not started.')
    await new Promise<void>((resolve) => {
      parser.write(chunk, () => resolve())
    })
    if (this.#mistake) throw this.#mistake
  }

  async end(): Promise<void> {
    this.#parser?.end()
    await this.#closed
    if (this.#mistake) throw this.#mistake
  }

  discard(): void {
    this.#parser?.destroy()
    for (const piece of this.#pieces) piece.discard()
  }

  #addField(name: string | undefined, value: string, isCut: boolean): void {
    if (name === undefined || name.length > fieldNameCharsMax) {
      this.#mistake ??= bad('Every field needs a short name.')
    } else if (isCut) {
      this.#mistake ??= bad(`A field may have at most ${limits.fieldSize} bytes.`, name)
    } else this.fields.push([name, value])
  }

  #addFile(
    name: string | undefined,
    file: Readable,
    info: { filename?: string; mimeType: string },
  ): void {
    const piece = this.#media.begin(this.#workspace)
    this.#pieces.push(piece)
    let head: Buffer = Buffer.alloc(0)
    file.on('data', (chunk: Buffer) => {
      if (head.length < headBytes) head = Buffer.concat([head, chunk.subarray(0, headBytes)])
      piece.write(chunk)
    })
    // A form that breaks off breaks its file too; the form's own error says so.
    file.on('error', () => {})
    file.on('end', () => {
      if (name === undefined) {
        this.#mistake ??= bad('Every file needs a name.')
        return
      }
      const filename = (info.filename ?? '').slice(0, filenameCharsMax)
      this.files.push({ field: name, filename, ref: piece.name(info.mimeType), head, piece })
    })
  }
}

/** Writes and parses one chunk at a time; the sender is held back meanwhile. The bytes that came. */
function receive(
  req: IncomingMessage,
  to: { file: FileHandle; form: Form; disk: Lease },
): Promise<number> {
  const { file, form, disk } = to
  return new Promise((resolve, reject) => {
    let bytes = 0
    let isOver = false
    const settle = (error?: unknown): void => {
      if (isOver) return
      isOver = true
      clearTimeout(timer)
      req.off('data', onData).off('end', onEnd).off('close', onClose).off('error', onClose)
      if (error === undefined) resolve(bytes)
      else reject(error)
    }
    const onData = (chunk: Buffer): void => {
      bytes += chunk.length
      req.pause()
      take(chunk).then(() => req.resume(), settle)
    }
    const take = async (chunk: Buffer): Promise<void> => {
      if (bytes > uploadBytesMax) throw tooLarge()
      disk.hold(bytes)
      await Promise.all([file.appendFile(chunk), form.write(chunk)])
    }
    const onEnd = (): void => settle(req.complete ? undefined : cutOff())
    const onClose = (): void => settle(cutOff())
    const timer = setTimeout(() => settle(new Fault('timeout')), uploadDeadlineMs)
    req.on('data', onData).on('end', onEnd).on('close', onClose).on('error', onClose)
    if (req.destroyed && !req.readableEnded) onClose()
  })
}

function toRefusal(error: unknown): unknown {
  if (error instanceof Fault || !(error instanceof Error) || !('syscall' in error)) return error
  // The disk's own words are not for callers.
  return new Fault('service_unavailable', {}, { cause: error })
}

function bad(message: string, param?: string): Fault {
  return new Fault('invalid_request', { message, ...(param ? { param } : {}) })
}

const cutOff = () => bad('The body ended early.')
const tooLarge = () =>
  new Fault('payload_too_large', { message: `The body may have at most ${uploadBytesMax} bytes.` })
