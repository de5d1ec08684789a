// What is kept of a list of embeddings: its counts. The vectors are committed to and not stored: they are no text.

import { type Completion, emptyCompletion, parseObject, readError, takeIds } from './completion.ts'
import { isObject, readInputUsage } from './usage.ts'

/** undefined when the body is no list of embeddings. */
export function readEmbeddings(body: Buffer): Completion | undefined {
  const answer = parseObject(body)
  if (!answer || !Array.isArray(answer.data)) return undefined
  const completion = emptyCompletion()
  takeIds(completion, answer)
  completion.output = { data: answer.data }
  completion.hasContent = answer.data.length > 0
  completion.usage = readInputUsage(answer.usage)
  if (isObject(answer.error)) completion.error = readError(answer.error)
  return completion
}
