// What the console does with words before it shows them: URLs, hidden characters, numbers with units, answers of odd shape.

import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { bytes, cost, duration } from '../dashboards/console/format.ts'
import { pieces, pretty } from '../dashboards/console/text.ts'
import {
  filterNames,
  link,
  pageOf,
  panelTabs,
  parseFilters,
  parseNext,
  parseView,
  ranges,
  toApi,
} from '../dashboards/console/url.ts'
import { readSpan, readTrace, readTraces } from '../dashboards/console/wire.ts'
import {
  readDiff,
  readHistory,
  readPrompts,
  readRegistry,
} from '../dashboards/console/wire-prompts.ts'

const seed = 20261120
const searchOf = (href: string) => new URL(href, 'http://plane').search

describe('the URLs of the console', () => {
  test('any filters survive the way into a link and back', () => {
    const by = fc.dictionary(
      fc.constantFrom(...filterNames, 'attr.http.route'),
      fc.string({ minLength: 1 }),
      { noNullPrototype: true },
    )
    const named = fc
      .constantFrom(...ranges.filter((range) => range !== 'custom'))
      .map((range) => ({ range, from: '', to: '' }))
    const custom = fc
      .date({ noInvalidDate: true })
      .map((from) => ({ range: 'custom' as const, from: from.toISOString(), to: '' }))
    fc.assert(
      fc.property(by, fc.oneof(named, custom), (filters, range) => {
        const given = { ...range, by: filters }
        expect(parseFilters(searchOf(link.traces(given)))).toEqual(given)
      }),
      { seed },
    )
  })

  test('any view of a trace survives the way into a link and back', () => {
    const views = fc.record({
      span: fc.option(fc.string({ minLength: 1 }), { nil: undefined }),
      tab: fc.option(fc.constantFrom(...panelTabs), { nil: undefined }),
      q: fc.string(),
      zoom: fc.option(
        fc
          .tuple(fc.nat(1e6), fc.integer({ min: 1, max: 1e6 }))
          .map(([fromMs, width]) => ({ fromMs, toMs: fromMs + width })),
        { nil: undefined },
      ),
    })
    fc.assert(
      fc.property(fc.string({ minLength: 1 }), views, (traceId, view) => {
        const href = link.trace(traceId, view)
        const back = parseView(searchOf(href))
        expect(back).toEqual({ ...view, tab: view.span === undefined ? undefined : view.tab })
      }),
      { seed },
    )
  })

  test('a login returns to a page of the console and nowhere else', () => {
    expect(parseNext('?next=%2Fconsole%2Fprompts')).toBe('/console/prompts')
    for (const next of [
      'https://evil.example',
      '//evil.example',
      '/\\evil.example',
      '/console/\\evil',
      'javascript:1',
      '/v1/traces',
      '',
    ])
      expect(parseNext(`?next=${encodeURIComponent(next)}`)).toBe('/console/traces')
  })

  test('every page has its path, and any other path is the missing page', () => {
    expect(pageOf('/console')).toEqual({ name: 'traces' })
    expect(pageOf('/console/traces/')).toEqual({ name: 'traces' })
    expect(pageOf('/console/traces/abc')).toEqual({ name: 'trace', traceId: 'abc' })
    expect(pageOf('/console/prompts')).toEqual({ name: 'prompts' })
    expect(pageOf('/console/traces/abc/def')).toEqual({ name: 'missing' })
  })

  test('a named range asks from that long ago until now; a custom one for just its instants', () => {
    const now = Date.parse('2026-11-20T12:00:00Z')
    const by = { service: 'web' }
    expect(toApi({ range: '1h', from: '', to: '', by }, now)).toEqual({
      service: 'web',
      from: '2026-11-20T11:00:00.000Z',
      to: '',
    })
    expect(toApi({ range: 'custom', from: 'a', to: 'b', by }, now)).toEqual({
      service: 'web',
      from: 'a',
      to: 'b',
    })
    expect(toApi({ range: 'all', from: '', to: '', by }, now)).toEqual({
      service: 'web',
      from: '',
      to: '',
    })
  })
})

describe('text from outside', () => {
  test('pieces put together are the text, whatever is in it', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        expect(
          pieces(text)
            .map((piece) => piece.text)
            .join(''),
        ).toBe(text)
      }),
      { seed, numRuns: 2000 },
    )
  })

  test('no plain piece holds a character that hides, escapes or turns the line around', () => {
    const nasty = fc.string({
      unit: fc.constantFrom(
        'a',
        'b',
        ' ',
        '\u001b',
        '\u202e',
        '\u2066',
        '\u200b',
        '\u0000',
        '\u{e0041}',
        '\ufeff',
      ),
    })
    fc.assert(
      fc.property(nasty, (text) => {
        const plain = pieces(text).filter((piece) => piece.mark === undefined)
        expect(plain.every((piece) => /^[ab ]*$/.test(piece.text))).toBe(true)
      }),
      { seed, numRuns: 1000 },
    )
  })

  test('joiners stay where scripts need them, and show where they only disguise', () => {
    const marks = (text: string) => pieces(text).flatMap((piece) => piece.mark ?? [])
    expect(marks('👩\u200d💻 می\u200cخواهم')).toEqual([])
    expect(marks('pay\u200dpal')).toEqual(['ZWJ'])
    expect(marks('line\r\nline')).toEqual([])
    expect(marks('over\rwritten')).toEqual(['CR'])
  })

  test('JSON is printed for reading; what only looks like JSON, or is too deep, is shown as it is', () => {
    expect(pretty('{"a":1}')).toBe('{\n  "a": 1\n}')
    expect(pretty('{not json')).toBe('{not json')
    expect(pretty('[12:30] hello')).toBe('[12:30] hello')
    let deep: unknown = 1
    for (let i = 0; i < 100_000; i++) deep = [deep]
    expect(pretty(deep)).toContain('too deeply')
  })
})

describe('numbers and answers', () => {
  test('every duration, cost and size carries its unit', () => {
    const positive = fc.double({ min: 0, max: 1e15, noNaN: true })
    fc.assert(
      fc.property(positive, (value) => {
        expect(duration(value)).toMatch(/\d (ns|µs|ms|s|min|h|d)( |$)/)
        expect(cost(value)).toMatch(/^\$[\d.]+$/)
        expect(bytes(Math.round(value))).toMatch(/ (B|kB|MB)$/)
      }),
      { seed, numRuns: 2000 },
    )
    expect([0, 0.0005, 0.25, 12.34, 999.9, 1500, 61_000, 180_000, 7_500_000].map(duration)).toEqual(
      [
        '0 ms',
        '500 ns',
        '250 µs',
        '12.3 ms',
        '1,000 ms',
        '1.50 s',
        '1 min 1 s',
        '3 min',
        '2 h 5 min',
      ],
    )
    expect([0, 0.00025, 0.0000012, 3.5].map(cost)).toEqual([
      '$0',
      '$0.00025',
      '$0.0000012',
      '$3.50',
    ])
  })

  test('an answer of any shape is read without a fault, and no field comes out with the wrong type', () => {
    const any = fc.jsonValue()
    const bent = fc.dictionary(
      fc.constantFrom(
        'items',
        'spans',
        'attributes',
        'events',
        'input',
        'output',
        'versions',
        'name',
        'duration_ms',
        'content',
      ),
      any,
    )
    fc.assert(
      fc.property(
        fc.oneof(
          any,
          bent,
          fc.record({ items: fc.array(bent), spans: fc.array(bent), input: fc.array(bent) }),
        ),
        (body) => {
          readTraces(body)
          readPrompts(body)
          readRegistry(body)
          readDiff(body)
          readHistory(body)
          const trace = readTrace(body)
          const span = readSpan(body)
          expect(typeof trace.name).toBe('string')
          for (const one of [...trace.spans, span])
            expect([typeof one.name, one.durationMs >= 0]).toEqual(['string', true])
          for (const message of span.input ?? []) expect(typeof message.role).toBe('string')
        },
      ),
      { seed, numRuns: 2000 },
    )
  })
})
