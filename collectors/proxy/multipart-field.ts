// Where the text of a field stands in a multipart body on the disk. Boundaries cannot stand inside a part, so finding them is
// enough; a part's head is read as far as its name.

import { open } from 'node:fs/promises'

const stepBytes = 256 * 1024
// A part's head, and more than the text of any field that is looked for.
const partBytesMax = 16 * 1024

/** From the first byte of the field's text to one past its last; undefined when the form has no such field. */
export async function findField(
  path: string,
  boundary: string,
  name: string,
): Promise<{ start: number; end: number } | undefined> {
  const delimiter = Buffer.from(`--${boundary}`)
  const file = await open(path, 'r')
  try {
    for (let from = 0; ; ) {
      const at = await findBytes(file, delimiter, from)
      if (at === undefined) return undefined
      const part = Buffer.alloc(partBytesMax)
      const { bytesRead } = await file.read(part, 0, partBytesMax, at)
      const range = textOf(part.subarray(0, bytesRead), delimiter, name)
      if (range) return { start: at + range.start, end: at + range.end }
      from = at + delimiter.length
    }
  } finally {
    await file.close()
  }
}

type File = Awaited<ReturnType<typeof open>>

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
  const [, quoted, plain] = /;\s*name=(?:"([^"]*)"|([^\s;]+))/i.exec(head) ?? []
  if ((quoted ?? plain) !== name) return undefined
  const start = headEnd + 4
  const end = part.indexOf(Buffer.concat([Buffer.from('\r\n'), delimiter]), start)
  return end < 0 ? undefined : { start, end }
}
