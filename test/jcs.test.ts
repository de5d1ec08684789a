// Canonical bytes: the vectors of RFC 8785, what is refused, and the strict reader of the verifier.

import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { NotCanonical, toJcs, toJcsBytes, toLooseJcs } from '../schemas/jcs.ts'
import { NotStrictJson, parseStrictJson } from '../schemas/strict-json.ts'

type Vectors = {
  values: { name: string; input: string; output: string }[]
  numbers: [string, string][]
}
const vectors: Vectors = JSON.parse(
  readFileSync(new URL('../schemas/vectors/jcs.json', import.meta.url), 'utf8'),
)

test.each(vectors.values)(
  'the example "$name" of RFC 8785 has the text its author gives',
  ({ input, output }) => {
    expect(toJcs(JSON.parse(input))).toBe(output)
    expect(toJcs(parseStrictJson(input))).toBe(output)
  },
)

test.each(vectors.numbers)('the double %s is written %s', (hex, text) => {
  expect(toLooseJcs(Buffer.from(hex, 'hex').readDoubleBE())).toBe(text)
})

const jsonValues = fc.jsonValue({ noUnicodeString: false }) as fc.Arbitrary<unknown>

test('canonical text means the same value, and is its own canonical text', () => {
  fc.assert(
    fc.property(jsonValues, (value) => {
      fc.pre(isStrict(value))
      const text = toJcs(value)
      expect(JSON.parse(text)).toEqual(JSON.parse(JSON.stringify(value)))
      expect(toJcs(parseStrictJson(text))).toBe(text)
      expect(toLooseJcs(value)).toBe(text)
    }),
    { seed: 8785, numRuns: 500 },
  )
})

test('a text of any length is spelled as JSON.stringify spells it, whatever stands in it and wherever', () => {
  const pieces = fc.constantFrom(
    'a',
    'é',
    '€',
    '\u{1f600}',
    '"',
    '\\',
    '\n',
    '\u0000',
    '\u001f',
    '\u007f',
    '\u2028',
  )
  const plain = fc.nat({ max: 120 }).map((length) => 'word '.repeat(30).slice(0, length))
  fc.assert(
    fc.property(plain, fc.array(pieces, { maxLength: 6 }), plain, (before, odd, after) => {
      const text = `${before}${odd.join('')}${after}`
      expect(toJcs([text, { [text]: text }])).toBe(JSON.stringify([text, { [text]: text }]))
      expect(Buffer.from(toJcsBytes(text)).toString()).toBe(JSON.stringify(text))
      const lone = `${text}\udc00${text}`
      expect(toLooseJcs(lone)).toBe(JSON.stringify(lone))
    }),
    { seed: 8785, numRuns: 500 },
  )
  const long = 'Zeile\n€'.repeat(100_000)
  expect(toJcs(long)).toBe(JSON.stringify(long))
  expect(toJcs('short')).toBe('"short"')
})

test('the order in which members were given changes no byte', () => {
  fc.assert(
    fc.property(fc.dictionary(fc.string(), fc.integer()), (members) => {
      const backwards = Object.fromEntries(Object.entries(members).reverse())
      expect(toJcsBytes(backwards)).toEqual(toJcsBytes(members))
    }),
    { seed: 8785 },
  )
})

test.each([
  ['NaN', Number.NaN],
  ['an infinity', [Number.POSITIVE_INFINITY]],
  ['undefined', { a: undefined }],
  ['a lone surrogate in a value', '\ud800'],
  ['a lone surrogate in a name', { '\udc00': 1 }],
  ['an integer beyond 2^53-1', 2 ** 53],
  ['a bigint', 1n],
  ['a Date', new Date(0)],
  ['bytes', new Uint8Array(2)],
  ['a function', () => 1],
  ['a value nested 501 deep', nested(501)],
])('%s has no canonical form', (_, value) => {
  expect(() => toJcs(value)).toThrow(NotCanonical)
})

test('a float beyond 2^53 that nobody takes for an exact integer has one', () => {
  expect(toJcs([1e21, 1.5, -0, 2 ** 53 - 1])).toBe('[1e+21,1.5,0,9007199254740991]')
})

test('the looser form writes what a JSON parser may hand over, one text for one value', () => {
  const value = JSON.parse('{"b":12345678901234567890,"a":"\\ud800","c":1e999,"d":-1e999}')
  expect(toLooseJcs({ ...value, gone: undefined })).toBe(
    '{"a":"\\ud800","b":12345678901234567000,"c":1e999,"d":-1e999}',
  )
  expect(() => toLooseJcs(nested(501))).toThrow(NotCanonical)
})

test.each([
  ['a name twice', '{"a":1,"a":2}'],
  ['a name twice, once escaped', '{"a":1,"\\u0061":2}'],
  ['__proto__ twice', '{"__proto__":1,"__proto__":2}'],
  ['a lone surrogate', '"\\ud800"'],
  ['an integer that loses digits', '9007199254740993'],
  ['a number beyond doubles', '1e999'],
  ['a leading zero', '01'],
  ['a bare word', 'NaN'],
  ['a trailing comma', '[1,]'],
  ['a missing comma', '[1 2]'],
  ['a comment', '{} // x'],
  ['two values', '1 2'],
  ['no value', ' '],
  ['a bare control character', '"\n"'],
  ['an open string', '"abc'],
  ['a byte order mark', '\ufeff{}'],
  ['nesting of 65', `${'['.repeat(66)}${']'.repeat(66)}`],
  ['more than a mebibyte', `"${'x'.repeat(1024 * 1024)}"`],
])('the strict reader refuses %s', (_, text) => {
  expect(() => parseStrictJson(text)).toThrow(NotStrictJson)
})

test('the strict reader reads what JSON.parse reads, wherever it does not refuse', () => {
  fc.assert(
    fc.property(jsonValues, fc.integer({ min: 0, max: 3 }), (value, indent) => {
      const text = JSON.stringify(value, null, indent)
      fc.pre(isStrict(value))
      expect(parseStrictJson(text)).toEqual(JSON.parse(text))
    }),
    { seed: 7493, numRuns: 500 },
  )
})

test('the strict reader keeps a member called __proto__ a member', () => {
  const value = parseStrictJson('{"__proto__":{"admin":true}}') as { admin?: boolean }
  expect(Object.keys(value)).toEqual(['__proto__'])
  expect(value.admin).toBeUndefined()
})

function isStrict(value: unknown): boolean {
  try {
    toJcs(value)
    return true
  } catch {
    return false
  }
}

function nested(depth: number): unknown {
  let value: unknown = 1
  for (let i = 0; i < depth; i++) value = [value]
  return value
}
