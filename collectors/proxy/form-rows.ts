// What the rows of the table that take a multipart form have in common.

import type { IncomingMessage } from 'node:http'
import { receiveJson } from './json-rows.ts'
import type { JsonObject, Received, Receiving } from './operation.ts'
import { receiveUpload, type Upload } from './upload.ts'

/** A form as an object: texts by their names, `name[]` as lists, files by their hashes. */
export async function receiveForm(req: IncomingMessage, at: Receiving): Promise<Received> {
  const upload = await receiveUpload(req, at)
  return {
    request: toObject(upload),
    body: Buffer.alloc(0),
    contentType: req.headers['content-type'] ?? '',
    upload,
  }
}

/** A form because a picture may come along; JSON else. */
export function receiveFormOrJson(req: IncomingMessage, at: Receiving): Promise<Received> {
  const isForm = /^multipart\//i.test(req.headers['content-type'] ?? '')
  return isForm ? receiveForm(req, at) : receiveJson(req, at)
}

function toObject({ fields, files }: Upload): JsonObject {
  const request: JsonObject = Object.create(null)
  for (const [name, text] of fields) add(request, name, text)
  for (const { field, filename, ref } of files) add(request, field, { filename, ...ref })
  return request
}

/** The first of several with one name stands alone only until the second comes: then they are a list. */
function add(request: JsonObject, name: string, value: unknown): void {
  const key = name.endsWith('[]') ? name.slice(0, -2) : name
  const known = request[key]
  if (Array.isArray(known)) known.push(value)
  else if (known !== undefined) request[key] = [known, value]
  else request[key] = name.endsWith('[]') ? [value] : value
}
