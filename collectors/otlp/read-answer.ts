// What a receiver of our spans answered: ExportTraceServiceResponse or google.rpc.Status, in either encoding. A success that
// cannot be read is a success all the same (OTLP/HTTP: a client must not send again what was accepted).

import { readBytes, readMessage } from './wire-fields.ts'

const messageCharsMax = 500

/** `rejected`: spans the receiver did not take. `message`: its words for that, or its warning; both empty on full success. */
export type PartialAnswer = { rejected: number; message: string }

const full: PartialAnswer = { rejected: 0, message: '' }

export function readPartialSuccess(contentType: string, body: Buffer): PartialAnswer {
  try {
    if (/json/i.test(contentType)) return fromJson(JSON.parse(body.toString()))
    const partial = readBytes(readMessage(body), 1)
    if (!partial) return full
    const fields = readMessage(partial)
    const rejected = fields.get(1)
    return {
      rejected: typeof rejected === 'number' ? rejected : 0,
      message: clip(readBytes(fields, 2)?.toString() ?? ''),
    }
  } catch {
    return full
  }
}

/** The words of an error answer, for a person; empty when it has none that can be read. */
export function readErrorMessage(contentType: string, body: Buffer): string {
  try {
    if (/protobuf/i.test(contentType)) {
      return clip(readBytes(readMessage(body), 2)?.toString() ?? '')
    }
    if (!/json/i.test(contentType)) return ''
    const { message, error } = JSON.parse(body.toString())
    return clip(String(message ?? error?.message ?? error ?? ''))
  } catch {
    return ''
  }
}

function fromJson(value: unknown): PartialAnswer {
  const partial = isRecord(value) ? (value.partialSuccess ?? value.partial_success) : undefined
  if (!isRecord(partial)) return full
  const rejected = Number(partial.rejectedSpans ?? partial.rejected_spans ?? 0)
  return {
    rejected: Number.isSafeInteger(rejected) && rejected > 0 ? rejected : 0,
    message: clip(String(partial.errorMessage ?? partial.error_message ?? '')),
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null
}

function clip(text: string): string {
  return text.slice(0, messageCharsMax)
}
