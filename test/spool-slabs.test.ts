// The memory that chunks lie in between their commit and their insert: whose bytes lie where, and when it is let go.

import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { type Slab, Slabs, slabBytes } from '../collectors/spool/slabs.ts'
import { randomOf } from './spool-world.ts'

beforeEach(() => {
  vi.useFakeTimers()
})
afterEach(() => {
  vi.useRealTimers()
})

/** A chunk of so many bytes, all of them `fill`, written in two parts. */
function written(slabs: Slabs, bytes: number, fill: number) {
  const writer = slabs.begin(bytes)
  const cut = bytes >> 1
  const parts = [
    writer.write([Buffer.alloc(cut, fill)]),
    writer.write([Buffer.alloc(bytes - cut, fill)]),
  ]
  return { bytes, fill, parts, pieces: writer.end(), slabs: writer.taken as readonly Slab[] }
}

test('a chunk keeps its bytes until it is given back, whatever is written and given back meanwhile, in whatever order', () => {
  const random = randomOf(20_260)
  const slabs = new Slabs()
  const alive: ReturnType<typeof written>[] = []
  const regions = new Set<ArrayBufferLike>()
  for (let i = 0; i < 1_000; i++) {
    const bytes = 2 + Math.floor(random() ** 4 * 3 * slabBytes)
    const chunk = written(slabs, bytes, i % 256)
    alive.push(chunk)
    for (const { buffer } of chunk.pieces) regions.add(buffer)
    if (bytes <= slabBytes) expect(chunk.pieces.length).toBe(1)
    expect(Buffer.concat(chunk.pieces).equals(Buffer.concat(chunk.parts.flat()))).toBe(true)
    while (alive.length > 40) {
      const [gone] = alive.splice(Math.floor(random() * alive.length), 1)
      const { bytes, fill } = gone!
      expect(Buffer.concat(gone!.pieces).equals(Buffer.alloc(bytes, fill))).toBe(true)
      slabs.give(gone!.slabs)
    }
  }
  // 40 chunks lie in fewer slabs than a region has: the memory of one went round.
  expect(regions.size).toBe(1)
})

// Compared by `===`: what prints two buffers of 32 MiB to show how they differ takes minutes.
test('memory that went back is written again, and let go when nobody needs it for ten seconds', () => {
  const slabs = new Slabs()
  const bufferOf = () => {
    const chunk = written(slabs, 1_000, 1)
    slabs.give(chunk.slabs)
    return chunk.pieces[0]!.buffer
  }
  const first = bufferOf()
  vi.advanceTimersByTime(9_999)
  expect(bufferOf() === first).toBe(true)
  vi.advanceTimersByTime(9_999)
  const held = written(slabs, 1_000, 2)
  vi.advanceTimersByTime(60_000)
  slabs.give(held.slabs)
  expect(bufferOf() === first).toBe(true)
  vi.advanceTimersByTime(10_000)
  expect(bufferOf() === first).toBe(false)
})
