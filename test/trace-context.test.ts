// W3C trace context: what is continued, what starts a trace of its own, what is left out.

import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { continueTrace, toTraceparent } from '../collectors/proxy/trace-context.ts'

const traceId = '0af7651916cd43dd8448eb211c80319c'
const spanId = 'b7ad6b7169203331'
const good = `00-${traceId}-${spanId}-01`

const isContinued = (traceparent: string) => continueTrace({ traceparent }).traceId === traceId

describe('a traceparent', () => {
  test.each([
    ['of version 00', good],
    ['with spaces around it', ` ${good}\t`],
    ['of a later version', `cc-${traceId}-${spanId}-01`],
    [
      'of a later version with more behind a dash',
      `cc-${traceId}-${spanId}-01-what-the-future-brings`,
    ],
  ])('%s is continued', (_what, text) => {
    expect(isContinued(text)).toBe(true)
    expect(continueTrace({ traceparent: text }).parentSpanId).toBe(spanId)
  })

  test.each([
    ['of version ff', `ff-${traceId}-${spanId}-01`],
    ['of version 00 with more behind it', `${good}-x`],
    ['of a later version with more and no dash', `cc-${traceId}-${spanId}-01x`],
    ['in capitals', good.toUpperCase()],
    ['with a trace id of zeros', `00-${'0'.repeat(32)}-${spanId}-01`],
    ['with a span id of zeros', `00-${traceId}-${'0'.repeat(16)}-01`],
    ['that is too short', good.slice(0, -1)],
    ['that came twice', `${good}, ${good}`],
    ['with a bad flag', `00-${traceId}-${spanId}-0g`],
    ['that is empty', ''],
  ])('%s starts a new trace, without its state', (_what, text) => {
    const trace = continueTrace({ traceparent: text, tracestate: 'a=1' })
    expect(trace.traceId).toMatch(/^[0-9a-f]{32}$/)
    expect(trace).toMatchObject({ parentSpanId: undefined, traceState: '', flags: 3 })
    expect(trace.traceId).not.toBe(traceId)
  })

  test('keeps the flags sampled and random, and no other', () => {
    const flags = ['00', '01', '02', '03', 'ff', 'fc'].map(
      (hex) => continueTrace({ traceparent: `00-${traceId}-${spanId}-${hex}` }).flags,
    )
    expect(flags).toEqual([0, 1, 2, 3, 3, 0])
    expect(toTraceparent(traceId, spanId, 0xff)).toBe(`00-${traceId}-${spanId}-03`)
  })

  test('of any text never throws, and what is emitted is always valid', () => {
    fc.assert(
      fc.property(fc.string(), fc.string(), (traceparent, tracestate) => {
        const trace = continueTrace({ traceparent, tracestate })
        expect(toTraceparent(trace.traceId, spanId, trace.flags)).toMatch(
          /^00-[0-9a-f]{32}-[0-9a-f]{16}-0[0-3]$/,
        )
      }),
    )
  })
})

describe('a tracestate', () => {
  const state = (tracestate: string) => continueTrace({ traceparent: good, tracestate }).traceState

  test.each([
    ['keeps its order', 'b=2,a=1', 'b=2,a=1'],
    ['loses empty members and spaces', ' a=1 , ,, b=2\t', 'a=1,b=2'],
    ['keeps the first of two with one key', 'a=1,b=2,a=3', 'a=1,b=2'],
    ['takes keys with slash, star, at and dash', 'a/b*c@d-e_f=x y', 'a/b*c@d-e_f=x y'],
    ['with a capital in a key is dropped', 'A=1', ''],
    ['with two equals signs is dropped', 'a=1=2', ''],
    ['without a value is dropped', 'a=', ''],
    ['without an equals sign is dropped', 'a', ''],
    ['with a value too long is dropped', `a=${'x'.repeat(257)}`, ''],
    ['with a member that is bad is dropped whole', 'a=1,B=2', ''],
  ])('%s', (_what, given, expected) => {
    expect(state(given)).toBe(expected)
    expect(isContinued(good)).toBe(true)
  })

  test('of 32 members is kept, of 33 dropped', () => {
    const list = Array.from({ length: 33 }, (_, i) => `k${i}=v`)
    expect(state(list.slice(0, 32).join(','))).toBe(list.slice(0, 32).join(','))
    expect(state(list.join(','))).toBe('')
  })

  test('that is very long loses its long members first, then its last', () => {
    const long = `long=${'x'.repeat(200)}`
    const list = [long, ...Array.from({ length: 25 }, (_, i) => `k${i}=${'v'.repeat(95)}`)]
    const kept = state(list.join(',')).split(',')
    expect(kept).toEqual(list.slice(1, 1 + kept.length))
    expect(kept.length).toBeGreaterThan(15)
  })
})
