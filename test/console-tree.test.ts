// The tree of a trace and its time axis, for any set of spans: parents are claims, clocks differ, ids repeat.

import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { place, ticks } from '../dashboards/console/trace/scale.ts'
import { type Row, toTree, visibleRows } from '../dashboards/console/trace/tree.ts'
import type { Skeleton } from '../dashboards/console/wire.ts'

const second = 1_000_000_000n
const epoch = 1_763_600_000n * second

const span = (
  spanId: string,
  parentSpanId: string | null,
  startMs = 0,
  durationMs = 10,
): Skeleton => ({
  spanId,
  parentSpanId,
  name: spanId,
  kind: 'internal',
  type: 'span',
  service: 'svc',
  status: 'ok',
  startedAt: '2026-11-20T00:00:00.000Z',
  startUnixNano: String(epoch + BigInt(Math.round(startMs * 1e6))),
  durationMs,
  model: null,
  promptVersionId: null,
  inputTokens: null,
  outputTokens: null,
  costUsd: null,
  runId: null,
})

/** The tree as a picture: one line a row, two spaces a level. */
const draw = (spans: Skeleton[]): string[] =>
  toTree(spans).rows.map((row) => {
    const marks =
      row.kind === 'span' ? `${row.cut ? ' cut' : ''}${row.adrift ? ' adrift' : ''}` : ''
    const name = row.kind === 'span' ? row.span.name : `missing ${row.parentSpanId}`
    return `${'  '.repeat(row.depth)}${name}${marks}`
  })

// Few ids for many spans, so that orphans, cycles, self-parents and doubled ids are the common case and not the rare one.
const anySpans = fc
  .array(
    fc.record({
      id: fc.constantFrom('a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'),
      parent: fc.option(fc.constantFrom('a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'x', 'y', '0000'), {
        nil: null,
      }),
      start: fc.oneof(fc.integer({ min: 0, max: 50 }), fc.constant(-1e12), fc.constant(1e13)),
      duration: fc.integer({ min: 0, max: 100 }),
    }),
    { maxLength: 24 },
  )
  .map((all) => all.map((one) => span(one.id, one.parent, one.start, one.duration)))

const seed = 20261120

describe('the tree of a trace', () => {
  test('any set of spans draws each of them exactly once', () => {
    fc.assert(
      fc.property(anySpans, (spans) => {
        const drawn = toTree(spans).rows.flatMap((row) => (row.kind === 'span' ? [row.span] : []))
        expect(new Set(drawn)).toEqual(new Set(spans))
        expect(drawn.length).toBe(spans.length)
      }),
      { seed, numRuns: 2000 },
    )
  })

  test('a row stands directly below the row that holds it, one level deeper, and descendants count the rows between', () => {
    fc.assert(
      fc.property(anySpans, (spans) => {
        const { rows } = toTree(spans)
        rows.forEach((row, at) => {
          const below = rows.slice(at + 1, at + 1 + row.descendants)
          expect(below.every((other) => other.depth > row.depth)).toBe(true)
          expect(rows[at + 1 + row.descendants]?.depth ?? 0).toBeLessThanOrEqual(row.depth)
          if (row.parent >= 0) expect(rows[row.parent]!.depth).toBe(row.depth - 1)
          else expect(row.depth).toBe(0)
        })
      }),
      { seed, numRuns: 1000 },
    )
  })

  test('a span whose parent is here stands under it, unless a cycle was cut at it', () => {
    fc.assert(
      fc.property(anySpans, (spans) => {
        const { rows } = toTree(spans)
        const ids = new Set(spans.map((one) => one.spanId))
        for (const row of rows) {
          if (row.kind !== 'span' || row.span.parentSpanId === null) continue
          const claimed = row.span.parentSpanId
          const above = rows[row.parent]
          if (row.cut || claimed === '0000') expect(above).toBeUndefined()
          else if (ids.has(claimed))
            expect(above?.kind === 'span' && above.span.spanId).toBe(claimed)
          else expect(above?.kind === 'missing' && above.parentSpanId).toBe(claimed)
        }
      }),
      { seed, numRuns: 1000 },
    )
  })

  test('siblings are in order of their start', () => {
    fc.assert(
      fc.property(anySpans, (spans) => {
        const lastOf = new Map<number, bigint>()
        for (const row of toTree(spans).rows) {
          if (row.kind !== 'span' || row.parent < 0) continue
          const start = BigInt(row.span.startUnixNano)
          expect(start >= (lastOf.get(row.parent) ?? 0n)).toBe(true)
          lastOf.set(row.parent, start)
        }
      }),
      { seed, numRuns: 1000 },
    )
  })

  test('folding a row hides its descendants and nothing else, and unfolding brings all back', () => {
    fc.assert(
      fc.property(anySpans, fc.nat(), (spans, pick) => {
        const { rows } = toTree(spans)
        if (rows.length === 0) return
        const at = pick % rows.length
        const row: Row = rows[at]!
        const hidden = new Set(rows.slice(at + 1, at + 1 + row.descendants).map((one) => one.key))
        const left = visibleRows(rows, new Set([row.key])).map((index) => rows[index]!.key)
        expect(left).toEqual(rows.map((one) => one.key).filter((key) => !hidden.has(key)))
        expect(visibleRows(rows, new Set())).toEqual(rows.map((_, index) => index))
      }),
      { seed, numRuns: 1000 },
    )
  })

  test('orphans gather under a visible row for the parent that never came, where the first of them belongs', () => {
    expect(
      draw([
        span('late', null, 90),
        span('o2', 'gone', 40),
        span('root', null, 0),
        span('o1', 'gone', 30),
      ]),
    ).toEqual(['root', 'missing gone', '  o1', '  o2', 'late'])
  })

  test('a cycle is cut at its earliest span, and what hangs on it stays on it', () => {
    expect(
      draw([span('a', 'c', 5), span('b', 'a', 3), span('c', 'b', 9), span('leaf', 'a', 1)]),
    ).toEqual(['b cut', '  c', '    a', '      leaf'])
    expect(draw([span('self', 'self', 0)])).toEqual(['self cut'])
  })

  test('a span with a clock of another year is drawn, marked, and does not stretch the axis', () => {
    const tree = toTree([
      span('root', null, 0, 100),
      span('child', 'root', 10, 20),
      { ...span('lost', 'root'), startUnixNano: '1000' },
    ])
    expect(tree.endMs).toBe(100)
    expect(tree.rows.find((row) => row.kind === 'span' && row.span.name === 'lost')).toMatchObject({
      adrift: true,
      startMs: 0,
    })
  })

  test('a child that starts before its parent is marked as skewed and keeps its own time', () => {
    const { rows } = toTree([span('root', null, 100, 50), span('early', 'root', 40, 30)])
    expect(
      rows.map((row) => row.kind === 'span' && [row.span.name, row.startMs, row.skewed]),
    ).toEqual([
      ['root', 60, false],
      ['early', 0, true],
    ])
  })

  test('a chain of 50,000 spans draws without exhausting the stack', () => {
    const chain = Array.from({ length: 50_000 }, (_, i) =>
      span(`s${i}`, i === 0 ? null : `s${i - 1}`, i),
    )
    const { rows } = toTree(chain)
    expect(rows.length).toBe(50_000)
    expect(rows.at(-1)!.depth).toBe(49_999)
    expect(rows[0]!.descendants).toBe(49_999)
  })
})

describe('the time axis', () => {
  test('ticks are round, rising, inside the window and no more than asked for', () => {
    const windows = fc.tuple(
      fc.double({ min: 0, max: 1e7, noNaN: true }),
      fc.double({ min: 0.001, max: 1e9, noNaN: true }),
    )
    fc.assert(
      fc.property(windows, fc.integer({ min: 2, max: 12 }), ([fromMs, span], most) => {
        const toMs = fromMs + span
        const found = ticks({ fromMs, toMs }, most)
        expect(found.length).toBeLessThanOrEqual(most + 1)
        expect(found.every((at) => at >= fromMs - span * 1e-6 && at <= toMs + span * 1e-6)).toBe(
          true,
        )
        expect(found.every((at, i) => i === 0 || at > found[i - 1]!)).toBe(true)
      }),
      { seed, numRuns: 1000 },
    )
  })

  test('a bar never leaves the window it is drawn in', () => {
    const ms = fc.double({ min: 0, max: 1e6, noNaN: true })
    fc.assert(
      fc.property(
        ms,
        ms,
        ms,
        fc.double({ min: 0.001, max: 1e6, noNaN: true }),
        (start, length, from, width) => {
          const { left, width: wide } = place(start, length, { fromMs: from, toMs: from + width })
          expect(left).toBeGreaterThanOrEqual(0)
          expect(left + wide).toBeLessThanOrEqual(100 + 1e-9)
        },
      ),
      { seed, numRuns: 1000 },
    )
  })
})
