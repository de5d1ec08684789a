// The body sent upstream differs from the client's only where it must, byte for byte.

import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { membersOf, spliceBody } from '../collectors/proxy/json-splice.ts'

const splice = (json: string, change: { addUsage?: boolean; dropPrompt?: boolean }) =>
  spliceBody(Buffer.from(json), { addUsage: false, dropPrompt: false, ...change }).toString()

test.each([
  [
    '{"model":"m","stream":true}',
    '{"stream_options":{"include_usage":true},"model":"m","stream":true}',
  ],
  [' { "a" : 1 } ', ' {"stream_options":{"include_usage":true}, "a" : 1 } '],
  ['{"a":1,"stream_options":null}', '{"a":1,"stream_options":{"include_usage":true}}'],
  ['{"stream_options":{}}', '{"stream_options":{"include_usage":true}}'],
  [
    '{"stream_options":{"x":1},"z":12345678901234567890}',
    '{"stream_options":{"include_usage":true,"x":1},"z":12345678901234567890}',
  ],
  ['{"stream_options":{"include_usage":false}}', '{"stream_options":{"include_usage":true}}'],
  [
    '{"stream\\u005foptions":{"include_usage" : null }}',
    '{"stream\\u005foptions":{"include_usage" : true }}',
  ],
  [
    '{"stream_options":{},"stream_options":{"x":"}"}}',
    '{"stream_options":{},"stream_options":{"include_usage":true,"x":"}"}}',
  ],
])('usage is asked for in %s', (given, expected) => {
  expect(splice(given, { addUsage: true })).toBe(expected)
})

test.each([
  ['{"prompt":{"id":"a"},"b":1}', '{"b":1}'],
  ['{"b":1,"prompt":{"id":"a"}}', '{"b":1}'],
  ['{"b":1, "prompt" : {"id":"}\\"{"} , "c":[{"prompt":1}]}', '{"b":1, "c":[{"prompt":1}]}'],
  ['{"prompt":1,"b":2,"prompt":{"id":"a"},"prompt":3}', '{"b":2}'],
  ['{"prompt":{}}', '{}'],
  ['{"a":"prompt","pro\\u006dpt":1}', '{"a":"prompt"}'],
])('the prompt is taken out of %s', (given, expected) => {
  expect(splice(given, { dropPrompt: true })).toBe(expected)
})

test('nothing to change gives the same buffer', () => {
  const body = Buffer.from('{"a":1}')
  expect(spliceBody(body, { addUsage: false, dropPrompt: false })).toBe(body)
})

describe('any object', () => {
  const object = fc.dictionary(
    fc.oneof(fc.string(), fc.constantFrom('prompt', 'stream_options', 'a"b\\')),
    fc.jsonValue(),
    { minKeys: 1 },
  )
  const indent = fc.constantFrom(undefined, 1, '\t')

  test('is cut into its members', () => {
    fc.assert(
      fc.property(object, indent, (value, space) => {
        const json = Buffer.from(JSON.stringify(value, null, space))
        const read = membersOf(json).map(({ name, valueStart, valueEnd }) => [
          name,
          JSON.parse(json.toString('utf8', valueStart, valueEnd)),
        ])
        expect(read).toEqual(Object.entries(JSON.parse(json.toString())))
      }),
    )
  })

  test('keeps everything else when it is changed', () => {
    fc.assert(
      fc.property(object, indent, (value, space) => {
        const parsed = JSON.parse(JSON.stringify(value))
        const json = JSON.stringify({ ...parsed, model: 'm' }, null, space)
        const changed = JSON.parse(splice(json, { addUsage: true, dropPrompt: true }))
        expect(changed.stream_options.include_usage).toBe(true)
        expect('prompt' in changed).toBe(false)
        const { prompt: _p, stream_options: _s, ...rest } = JSON.parse(json)
        const { stream_options: _t, ...others } = changed
        expect(others).toEqual(rest)
      }),
    )
  })
})
