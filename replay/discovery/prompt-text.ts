// Which text of a call is its prompt, and where it stands: the part that a version is of.

import { toText } from '../../schemas/conversation.ts'
import { promptCharsMax } from './limits.ts'

type Messages = readonly { role: string; content: unknown }[]

/** The text that discovery reads: system and developer messages, one line break between; else the first user message. */
export function promptOf(messages: Messages): string {
  return chosenOf(messages)
    .map((i) => flat(messages[i]!.content))
    .join('\n')
    .slice(0, promptCharsMax)
}

/**
 * The one message that is the prompt, with a way to write another text into its content; undefined when the prompt is
 * spread over several messages or parts, or too long to have been read whole.
 */
export function promptPlaceOf(
  messages: Messages,
): { message: number; write: (text: string) => unknown } | undefined {
  const chosen = chosenOf(messages)
  const [only] = chosen
  if (only === undefined || chosen.length > 1) return undefined
  const { content } = messages[only]!
  if (flat(content).length > promptCharsMax) return undefined
  if (typeof content === 'string') return { message: only, write: (text) => text }
  if (!Array.isArray(content) || content.length !== 1) return undefined
  const part: unknown = content[0]
  if (typeof Object(part).text !== 'string') return undefined
  return { message: only, write: (text) => [{ ...Object(part), text }] }
}

function chosenOf(messages: Messages): number[] {
  const at = (is: (role: string) => boolean) =>
    messages.flatMap((one, i) => (is(one.role) ? [i] : []))
  const system = at((role) => role === 'system' || role === 'developer')
  return system.length > 0 ? system : at((role) => role === 'user').slice(0, 1)
}

function flat(content: unknown): string {
  if (!Array.isArray(content)) return toText(content)
  return content.map((part) => toText(Object(part).text)).join('\n')
}
