// A family's first name, from the role that its prompt gives: "You are a support agent for …" is `support-agent`.

import { toSlug } from '../../schemas/prompt.ts'

const rolePattern =
  /\b(?:you are|you're|act as|as)\s+(?:an?|the|our)?\s*((?:[\p{L}][\p{L}'’-]*\s*){1,6})/iu
const stopWords = new Set(
  'a an the our your very helpful friendly expert professional assistant ai of for to who that and in at with on working model language large named called'.split(
    ' ',
  ),
)
const wordsMax = 3

/** A slug that is not taken: words of the role, or the first words, and a number when needed. */
export function nameFamily(text: string, isTaken: (slug: string) => boolean): string {
  const role = rolePattern.exec(text)?.[1] ?? ''
  const words = wordsOf(role).length > 0 ? wordsOf(role) : wordsOf(text)
  const name = toSlug(words.slice(0, wordsMax).join('-'))?.replaceAll(/^-+|-+$/g, '') || 'prompt'
  if (!isTaken(name)) return name
  for (let n = 2; ; n++)
    if (!isTaken(`${name.slice(0, 58)}-${n}`)) return `${name.slice(0, 58)}-${n}`
}

function wordsOf(text: string): string[] {
  const words = text.toLowerCase().match(/[\p{L}][\p{L}\p{N}]*/gu) ?? []
  return words.filter((word) => !stopWords.has(word))
}
