// How deep a body nests is told before anything walks it, whatever its strings hold.

import fc from 'fast-check'
import { expect, test } from 'vitest'
import { closingQuote, isDeeper } from '../collectors/json-body.ts'

const seed = 20_261_121
const run = (text: string, times: number) => text.repeat(times)

/** The same rule, character by character. */
function endOf(text: string, from: number): number {
  for (let at = from; at < text.length; at++) {
    if (text[at] === '"') return at
    if (text[at] === '\\') at += 1
  }
  return text.length
}

test('a string ends at its first quote that is not escaped, near or far', () => {
  const piece = fc.constantFrom('a', '"', '\\', '\\"', '[', run('far ', 20), run('\\', 49), 'ä')
  const texts = fc.array(piece, { maxLength: 40 }).map((pieces) => pieces.join(''))
  fc.assert(
    fc.property(texts, fc.nat(8), (text, from) => {
      const bytes = Buffer.from(text, 'latin1')
      expect(closingQuote(bytes, from)).toBe(
        Math.max(endOf(text, from), Math.min(from, text.length)),
      )
    }),
    { seed, numRuns: 3000 },
  )
})

test('brackets in strings are no levels, however long the string and however it is escaped', () => {
  for (const string of [run('[', 5000), run('\\"[', 5000), `${run(' ', 60)}\\"${run('[', 300)}`]) {
    expect(isDeeper(Buffer.from(`{"a":"${string}"}`))).toBe(false)
    expect(isDeeper(Buffer.from(`{"a":"${string}","b":${run('[', 200)}`))).toBe(true)
    expect(isDeeper(Buffer.from(`{"a":"${string}","b":${run('[', 199)}`))).toBe(false)
  }
})
