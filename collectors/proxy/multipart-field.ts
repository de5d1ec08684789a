// Where the text of a field stands in a multipart body on the disk. A boundary is one where a line begins (RFC 2046, 5.1.1): in
// the middle of one it is the sender's text. A part's head is read as far as its name.

import { open } from 'node:fs/promises'

const stepBytes = 256 * 1024
// A part's head, and more than the text of any field that is looked for.
const partBytesMax = 16 * 1024
const crlf = Buffer.from('\r\n')

export type FoundField = { start: number; end: number; text: string }

/** From the first byte of the field's text to one past its last; undefined when the form has no such field. */
export async function findField(
  path: string,
  boundary: string,
  name: string,
): Promise<FoundField | undefined> {
  const delimiter = Buffer.from(`--${boundary}`)
  const file = await open(path, 'r')
  try {
    for (let from = 0; ; ) {
      const at = await findBytes(file, delimiter, from)
      if (at === undefined) return undefined
      const part = await readAt(file, at, partBytesMax)
      const range = (await beginsLine(file, at)) && textOf(part, delimiter, name)
      if (range) {
        const text = part.toString('utf8', range.start, range.end)
        return { start: at + range.start, end: at + range.end, text }
      }
      from = at + delimiter.length
    }
  } finally {
    await file.close()
  }
}

type File = Awaited<ReturnType<typeof open>>

async function readAt(file: File, at: number, bytes: number): Promise<Buffer> {
  const read = Buffer.alloc(bytes)
  const { bytesRead } = await file.read(read, 0, bytes, at)
  return read.subarray(0, bytesRead)
}

async function beginsLine(file: File, at: number): Promise<boolean> {
  return at === 0 || (at >= 2 && (await readAt(file, at - 2, 2)).equals(crlf))
}

async function findBytes(file: File, bytes: Buffer, from: number): Promise<number | undefined> {
  const step = Buffer.alloc(stepBytes)
  for (let at = from; ; at += stepBytes - bytes.length) {
    const { bytesRead } = await file.read(step, 0, stepBytes, at)
    const found = step.subarray(0, bytesRead).indexOf(bytes)
    if (found >= 0) return at + found
    if (bytesRead < stepBytes) return undefined
  }
}

/** The text of this part, when it is the field of that name. */
function textOf(
  part: Buffer,
  delimiter: Buffer,
  name: string,
): { start: number; end: number } | undefined {
  const headEnd = part.indexOf('\r\n\r\n')
  if (headEnd < 0) return undefined
  const head = part.toString('latin1', delimiter.length, headEnd)
  // A name may stand in other headers, and in what a file is called.
  const [, disposition = ''] = /^content-disposition:([^\r\n]*)/im.exec(head) ?? []
  const named = disposition.replace(/;\s*filename\*?=(?:"(?:[^"\\]|\\.)*"|[^\s;]*)/gi, '')
  const [, quoted, plain] = /;\s*name=(?:"([^"]*)"|([^\s;]+))/i.exec(named) ?? []
  if ((quoted ?? plain) !== name) return undefined
  const start = headEnd + 4
  const end = part.indexOf(Buffer.concat([crlf, delimiter]), start)
  return end < 0 ? undefined : { start, end }
}
