// Streams in pieces: however they are cut, the same blocks come out, and every byte leaves once and in order.

import fc from 'fast-check'
import { expect, test } from 'vitest'
import { LateTap } from '../collectors/proxy/streams/late-tap.ts'
import { doneTerminal, readData, SseBlocks } from '../collectors/proxy/streams/sse-blocks.ts'
import { SseTap } from '../collectors/proxy/streams/sse-tap.ts'
import { chunk, delta, usageChunk } from './upstream.ts'

type Message = { content: string | null; refusal?: string; tool_calls: unknown[] }

function choicesOf(tap: SseTap) {
  const output = tap.completion().output as { choices: { index: number; message: Message }[] } // as a chat says it
  return output.choices
}

/** A stream of blocks in any of the three line endings, without [DONE], and where to cut it. */
const stream = fc
  .record({
    blocks: fc.array(
      fc.array(
        fc.oneof(
          fc.constantFrom(
            'data: x',
            'data:',
            ': note',
            'id: 7',
            'data: ✓ é 😀',
            'retry: 1',
            'event: e',
          ),
          fc.string({ maxLength: 8 }).map((it) => `data: ${it.replaceAll(/[\r\n]/g, '')}`),
        ),
        { minLength: 1, maxLength: 4 },
      ),
      { maxLength: 6 },
    ),
    eol: fc.constantFrom('\n', '\r\n', '\r'),
    cuts: fc.array(fc.nat(), { maxLength: 12 }),
  })
  .map(({ blocks, eol, cuts }) => {
    const texts = blocks.map((lines) => lines.map((line) => line + eol).join('') + eol)
    const bytes = Buffer.from(texts.join(''))
    const at = [...new Set(cuts.map((cut) => cut % (bytes.length + 1)))].sort((a, b) => a - b)
    const pieces = [0, ...at].map((from, i) => bytes.subarray(from, at[i] ?? bytes.length))
    return { lines: blocks, bytes, pieces }
  })

test('every byte leaves once, in order, however the stream is cut', () => {
  fc.assert(
    fc.property(stream, ({ bytes, pieces }) => {
      const blocks = new SseBlocks(doneTerminal, false)
      const passed: Buffer[] = []
      const memory: string[] = []
      for (const piece of pieces) {
        blocks.push(Buffer.from(piece))
        for (const out of blocks.passing) {
          passed.push(out)
          memory.push(out.toString('latin1'))
        }
      }
      expect(Buffer.concat(passed).toString('latin1')).toBe(bytes.toString('latin1'))
      // What was handed out is not written over while it is still on its way.
      expect(passed.map((out) => out.toString('latin1'))).toEqual(memory)
    }),
  )
})

test('the events are those of the stream, however it is cut', () => {
  fc.assert(
    fc.property(stream, ({ lines, pieces }) => {
      const blocks = new SseBlocks(doneTerminal, false)
      const events: (string | undefined)[] = []
      for (const piece of pieces) {
        blocks.push(piece)
        events.push(...blocks.blocks.map(readData))
      }
      const expected = lines.map((block) => {
        const data = block.filter((line) => line.startsWith('data:'))
        return data.length === 0
          ? undefined
          : data.map((line) => line.replace(/^data: ?/, '')).join('\n')
      })
      expect(events).toEqual(expected)
    }),
  )
})

test('[DONE] is seen wherever it is cut, and its block is held', () => {
  const text = `${delta({ content: 'a' })}id: 1\ndata: [DONE]\n\n`
  for (let cut = 0; cut <= text.length; cut++) {
    const blocks = new SseBlocks(doneTerminal, false)
    let passed = ''
    for (const piece of [text.slice(0, cut), text.slice(cut)]) {
      blocks.push(Buffer.from(piece))
      passed += Buffer.concat(blocks.passing).toString()
      if (blocks.done) break
    }
    expect(passed).toBe(delta({ content: 'a' }))
    expect(blocks.done?.before.toString()).toBe('id: 1\n')
    expect(blocks.done?.from.toString()).toBe('data: [DONE]\n\n')
  }
})

test.each([
  'data: [DONE] ',
  'data: "[DONE]"',
  'data: x\ndata: [DONE]',
  ': [DONE]',
  'data: {"content":"[DONE]"}',
])('%j is not the end', (line) => {
  const blocks = new SseBlocks(doneTerminal, false)
  blocks.push(Buffer.from(`${line}\n\n`))
  expect(blocks.done).toBeUndefined()
})

test('only the chunk with usage and no choices is left out', () => {
  const filter = chunk([], { prompt_filter_results: [] })
  const quoted = delta({ content: '"choices":[] "usage"' })
  const blocks = new SseBlocks(doneTerminal, true)
  blocks.push(Buffer.from(filter + quoted + usageChunk + delta({}, 'stop')))
  expect(Buffer.concat(blocks.passing).toString()).toBe(filter + quoted + delta({}, 'stop'))
  expect(blocks.blocks).toHaveLength(4)
})

test('an event above the limit overflows instead of growing', () => {
  const blocks = new SseBlocks(doneTerminal, false)
  const piece = Buffer.alloc(1024 * 1024, 'x')
  let pushed = 0
  while (!blocks.overflow && pushed < 64) {
    blocks.push(piece)
    pushed += 1
  }
  expect(pushed).toBe(17)
})

test('text beyond what is kept is left out and said so; tool calls of any index are bounded', () => {
  const tap = new SseTap()
  const big = 'x'.repeat(3 * 1024 * 1024)
  for (let i = 0; i < 3; i++) tap.take(Buffer.from(delta({ content: big })))
  for (let i = 0; i < 1000; i++) {
    tap.take(Buffer.from(delta({ tool_calls: [{ index: 2 ** 31 - i, function: { name: 'f' } }] })))
  }
  const { output, cut } = tap.completion()
  const [{ message }] = (output as { choices: [{ message: Message }] }).choices
  expect(cut).toBe(true)
  expect(message.content).toHaveLength(2 * big.length)
  expect(message.tool_calls).toHaveLength(256)
})

test('events that are not JSON are counted and change nothing', () => {
  const tap = new SseTap()
  for (const text of [
    'data: {"a"\n\n',
    'data: 3\n\n',
    ': c\n\n',
    'data: {"choices":[null,{"delta":3}]}\n\n',
  ]) {
    tap.take(Buffer.from(text))
  }
  tap.take(Buffer.from(`\uFEFF${delta({ content: 'a' })}`))
  expect(tap.malformed).toBe(1)
  expect(tap.completion().output).toMatchObject({ choices: [{ message: { content: 'a' } }] })
})

test('what is read late says the same as what is read at once, whenever it is asked', () => {
  const event = fc.oneof(
    fc.string({ unit: 'grapheme', maxLength: 40 }).map((content) => delta({ content })),
    fc.integer({ min: 1500, max: 6000 }).map((size) => delta({ content: 'é'.repeat(size) })),
    fc.constantFrom('data: {"a"\n\n', ': note\n\n', usageChunk, delta({ refusal: 'no' })),
  )
  const events = fc.array(fc.record({ event, isAsked: fc.boolean() }), { maxLength: 60 })
  fc.assert(
    fc.property(events, (given) => {
      const [now, late] = [new SseTap(), new LateTap(new SseTap())]
      for (const { event, isAsked } of given) {
        const block = Buffer.from(event)
        now.take(block)
        late.take(block)
        // Whoever hands out a block may write over it afterwards.
        block.fill(0)
        expect(late.started).toBe(now.started)
        if (isAsked && given.length % 3 === 0) expect(late.completion()).toEqual(now.completion())
      }
      expect(late.malformed).toBe(now.malformed)
      expect(late.completion()).toEqual(now.completion())
    }),
  )
})

test('an event that is like the one before says what it would say alone, whatever stands where its text is', () => {
  const raw = fc.array(
    fc.constantFrom(
      ...[
        'a',
        ' b',
        'é',
        '😀',
        '"',
        '\\',
        '\\n',
        '\\"',
        '\\u00e9',
        '\\ud83d',
        'probe',
        '\n',
        '\t',
        '',
        '[DONE]',
      ],
      ...['","role":"tool', '"},"finish_reason":"stop","x":{"y":"', '","content":"c', '"}', '{'],
    ),
    { maxLength: 3 },
  )
  const shapes = fc.constantFrom(
    [
      'data: {"id":"1","choices":[{"index":0,"delta":{"content":"',
      '"},"finish_reason":null}]}\n\n',
    ],
    [
      'data: {"choices":[{"index":1,"delta":{"role":"user","content" : "',
      '"}}],"usage":null}\r\n\r\n',
    ],
    [': "content":"x"\ndata: {"choices":[{"delta":{"refusal":null,"content":"', '"}}]}\n\n'],
    ['data: {"x":{"content":"y"},"choices":[{"delta":{"content":"', '"}}]}\n\n'],
    [
      'data: {"choices":[{"delta":{"content":"a","content":"',
      '"}},{"delta":{"content":"z"}}]}\n\n',
    ],
    ['data: {"choices":[{"delta":{"refusal":"no","content":"', '"}}]}\n\n'],
    [': "content":"', '"\ndata: {"choices":[{"delta":{"content":"probe"}}]}\n\n'],
  )
  const runs = fc.array(fc.record({ shape: shapes, raws: fc.array(raw, { maxLength: 6 }) }), {
    maxLength: 4,
  })
  fc.assert(
    fc.property(runs, fc.boolean(), (given, isBroken) => {
      const together = new SseTap()
      const alone = new Map<number, [content: string, refusal: string]>()
      let malformed = 0
      for (const { shape, raws } of given) {
        for (const pieces of raws) {
          const block = Buffer.from(shape.join(pieces.join('')))
          // Half of a character is read as a whole one that nobody knows.
          const at = block.indexOf('é')
          if (isBroken && at >= 0) block[at] = 0xff
          together.take(block)
          const one = new SseTap()
          one.take(block)
          malformed += one.malformed
          for (const { index, message } of choicesOf(one)) {
            const [content, refusal] = alone.get(index) ?? ['', '']
            alone.set(index, [content + (message.content ?? ''), refusal + (message.refusal ?? '')])
          }
        }
      }
      const read = choicesOf(together).map(({ index, message }) => {
        const texts: [string, string] = [message.content ?? '', message.refusal ?? '']
        return [index, texts] as const
      })
      expect(new Map(read)).toEqual(alone)
      expect(together.malformed).toBe(malformed)
    }),
    { numRuns: 1000 },
  )
})

test('[DONE] is found behind whatever else its block says, and only there', () => {
  for (const [text, isLast] of [
    ['data: [DONE]\n\n', true],
    ['data:[DONE]\r\n\r\n', true],
    ['datum: {\ndata: [DONE]\n\n', true],
    [': {\ndata: [DONE]\n\n', true],
    ['data: {\ndata: [DONE]\n\n', false],
    ['data: {"content":"[DONE]"}\n\n', false],
  ] as const) {
    const blocks = new SseBlocks(doneTerminal, false)
    blocks.push(Buffer.from(text))
    expect([text, blocks.done !== undefined]).toEqual([text, isLast])
  }
})
