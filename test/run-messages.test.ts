// The messages of a run, as its span has them: what is written in place says what an object of it would.

import fc from 'fast-check'
import { expect, test } from 'vitest'
import { writeInputMessages, writeOutputMessages } from '../collectors/run/messages.ts'
import { JsonBytes } from '../schemas/json-bytes.ts'

const texts = fc.oneof(
  fc.string({ unit: 'binary' }),
  fc.constantFrom('', 'a "b"\n', 'é'.repeat(90)),
)
const message = fc.record({ role: fc.constantFrom('system', 'user', 'assistant'), content: texts })

test('a message of a role and a text is written and shown as one that takes the long way', () => {
  fc.assert(
    fc.property(fc.array(message), (messages) => {
      const long = messages.map((one) => ({ ...one, tool_calls: [] }))
      expect(input(messages)).toEqual(input(long))
      const choices = messages.map((one) => ({ message: one, finish_reason: 'stop' }))
      const longer = long.map((one) => ({ message: one, finish_reason: 'stop' }))
      expect(output({ choices })).toEqual(output(longer))
      expect(input(messages).json).toEqual(
        messages.map(({ role, content }) => ({ role, parts: [{ type: 'text', content }] })),
      )
    }),
    { seed: 20, numRuns: 300 },
  )
})

test('a list shows the last text of what was asked and the first of what was answered, and a call of a tool where there is no text', () => {
  const call = (name: string) => ({ function: { name, arguments: '{}' } })
  const called = { role: 'assistant', content: null, tool_calls: [call('first'), call('second')] }
  const [one, two] = ['one', 'two'].map((content) => ({ role: 'user', content }))
  const empty = { role: 'user', content: '' }
  expect(input([one, two, called, empty]).shown).toBe('two')
  expect(input([called, empty]).shown).toBe('first({})')
  expect(output([empty, called, one, two]).shown).toBe('one')
  expect(output([{ message: called }]).shown).toBe('first({})')
  expect(output({ choices: [{ text: 'of a completion', finish_reason: 'length' }] })).toEqual({
    json: [
      {
        role: 'assistant',
        parts: [{ type: 'text', content: 'of a completion' }],
        finish_reason: 'length',
      },
    ],
    shown: 'of a completion',
  })
  expect(input('plain')).toEqual(input([{ role: 'user', content: 'plain' }]))
  expect(input([]).shown).toBe('')
})

function input(given: unknown): { json: unknown; shown: string } {
  const to = new JsonBytes()
  const shown = writeInputMessages(to, given)
  return { json: JSON.parse(to.toString()), shown }
}

function output(given: unknown): { json: unknown; shown: string } {
  const to = new JsonBytes()
  const shown = writeOutputMessages(to, given)
  return { json: JSON.parse(to.toString()), shown }
}
