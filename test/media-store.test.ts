// The media folder: a name means those bytes or nothing, whatever comes between; what is not used goes.

import { createHash } from 'node:crypto'
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { secondsOfCues, secondsOfWav } from '../collectors/proxy/media/sound.ts'
import { type MediaStore, mediaBytesMax, openMediaStore } from '../collectors/proxy/media/store.ts'
import { sweepMedia } from '../collectors/proxy/media/sweep.ts'

const dayMs = 24 * 60 * 60 * 1000
const workspace = '0190a000-0000-7000-8000-000000000001'
let dir: string
let store: MediaStore
let counted: Map<string, number>
const counters = {
  count(name: string, labels: Record<string, string>, by = 1) {
    const key = name + Object.values(labels).join()
    counted.set(key, (counted.get(key) ?? 0) + by)
  },
}
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'runledger-media-'))
  counted = new Map()
  store = openMediaStore({ dir, counters, nowMs: Date.now })
})
afterEach(() => rmSync(dir, { recursive: true, force: true }))

const hashOf = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex')
const incoming = () => readdirSync(join(dir, 'incoming'))
const keptOf = async (sha256: string, of = workspace) => {
  await store.flush()
  const found = await store.find(of, sha256)
  return found && readFileSync(found.path)
}

test('a piece is what was written, under its hash, for its workspace alone', async () => {
  const piece = store.begin(workspace)
  for (const part of ['some', ' ', 'bytes']) piece.write(Buffer.from(part))
  const bytes = Buffer.from('some bytes')
  const ref = piece.name('text/plain')
  expect(ref).toEqual({ sha256: hashOf(bytes), bytes: bytes.length, media_type: 'text/plain' })
  expect(await keptOf(ref.sha256)).toBeUndefined()
  piece.keep()
  expect(await keptOf(ref.sha256)).toEqual(bytes)
  expect(await keptOf(ref.sha256, 'another')).toBeUndefined()
  expect(incoming()).toEqual([])
})

test('what is kept is not taken back; what is discarded leaves nothing', async () => {
  const kept = store.begin(workspace)
  kept.write(Buffer.from('kept'))
  const { sha256 } = kept.name('text/plain')
  kept.keep()
  kept.discard()
  expect(await keptOf(sha256)).toEqual(Buffer.from('kept'))
  const dropped = store.begin(workspace)
  dropped.write(Buffer.from('dropped'))
  const other = dropped.name('text/plain')
  dropped.discard()
  dropped.keep()
  expect(await keptOf(other.sha256)).toBeUndefined()
  expect(incoming()).toEqual([])
})

test('the same bytes are stored once, however many bring them at a time', async () => {
  for (let i = 0; i < 20; i++) store.keep(workspace, Buffer.from('the same'), 'text/plain')
  await store.flush()
  expect([counted.get('media_stored_total'), readdirSync(dir).sort()]).toEqual([
    expect.any(Number),
    [workspace, 'incoming'].sort(),
  ])
  store.keep(workspace, Buffer.from('the same'), 'text/plain')
  const before = counted.get('media_stored_total')
  await store.flush()
  expect(counted.get('media_stored_total')).toBe(before)
  expect(counted.get('media_deduplicated_total')).toBeGreaterThan(0)
})

test('a piece that is too large is named and not kept; a disk that refuses harms nobody', async () => {
  const piece = store.begin(workspace)
  const mega = Buffer.alloc(1024 * 1024, 1)
  for (let bytes = 0; bytes <= mediaBytesMax; bytes += mega.length) {
    piece.write(mega)
    await store.flush()
  }
  const { sha256, bytes } = piece.name('audio/wav')
  piece.keep()
  expect([bytes > mediaBytesMax, await keptOf(sha256)]).toEqual([true, undefined])
  expect(counted.get('media_skipped_totaltoo_large')).toBe(1)
  expect(incoming()).toEqual([])

  rmSync(join(dir, 'incoming'), { recursive: true })
  writeFileSync(join(dir, 'incoming'), 'a file where a folder should be')
  const ref = store.keep(workspace, Buffer.from('refused'), 'text/plain')
  await store.flush()
  expect(ref.sha256).toBe(hashOf(Buffer.from('refused')))
  expect([...counted.keys()].some((key) => /^media_skipped_total(EEXIST|ENOTDIR)/.test(key))).toBe(
    true,
  )
})

test('what nothing has named for the retention time goes, and the oldest above the size; a use counts as young', async () => {
  const names = ['old', 'used', 'young', 'large'].map((name) => {
    const bytes = name === 'large' ? Buffer.alloc(5000) : Buffer.from(name)
    return [name, store.keep(workspace, bytes, 'text/plain').sha256] as const
  })
  await store.flush()
  const at = new Map(names)
  const age = async (name: string, days: number) => {
    const found = await store.find(workspace, at.get(name)!)
    const seconds = (Date.now() - days * dayMs) / 1000
    utimesSync(found!.path, seconds, seconds)
  }
  await age('old', 31)
  await age('used', 31)
  await age('large', 2)
  store.keep(workspace, Buffer.from('used'), 'text/plain')
  await store.flush()
  mkdirSync(join(dir, 'incoming'), { recursive: true })
  writeFileSync(join(dir, 'incoming', 'half'), 'x')
  const limits = { retentionDays: 30, bytesMax: 1000, nowMs: Date.now() }
  await sweepMedia(dir, limits, counters)
  const left = await Promise.all(
    names.map(async ([name, sha256]) => ((await store.find(workspace, sha256)) ? name : undefined)),
  )
  expect(left).toEqual([undefined, 'used', 'young', undefined])
  expect([counted.get('media_swept_totalretention'), counted.get('media_swept_totalsize')]).toEqual(
    [1, 1],
  )
  expect(incoming()).toEqual(['half'])
  await sweepMedia(dir, { ...limits, nowMs: Date.now() + 2 * dayMs }, counters)
  expect(incoming()).toEqual([])
})

test('the folder and its pieces are closed to everybody else', async () => {
  const { sha256 } = store.keep(workspace, Buffer.from('mine'), 'text/plain')
  await store.flush()
  const { path } = (await store.find(workspace, sha256))!
  const modes = [path, join(path, '..'), join(path, '..', '..')].map(
    (it) => statSync(it).mode & 0o777,
  )
  expect(modes).toEqual([0o600, 0o700, 0o700])
})

test('a WAV file says how long it is, also when its size was never filled in; other files say nothing', () => {
  const head = Buffer.alloc(44)
  head.write('RIFF', 0)
  head.write('WAVEfmt ', 8)
  head.writeUInt32LE(16, 16)
  head.writeUInt16LE(1, 20)
  head.writeUInt16LE(1, 22)
  head.writeUInt32LE(8_000, 24)
  head.writeUInt32LE(16_000, 28)
  head.writeUInt16LE(16, 34)
  head.write('data', 36)
  head.writeUInt32LE(32_000, 40)
  expect(secondsOfWav(head, 32_044)).toBe(2)
  head.writeUInt32LE(0xffffffff, 40)
  expect(secondsOfWav(head, 48_044)).toBe(3)
  expect(secondsOfWav(Buffer.alloc(4096), 5000)).toBeUndefined()
  for (const claimed of [0, 4_000_000_000]) {
    head.writeUInt32LE(claimed, 28)
    expect(secondsOfWav(head, 48_044)).toBeUndefined()
  }
})

test('subtitles say how long they are by their last end', () => {
  expect(
    secondsOfCues('1\n00:00:01,000 --> 00:01:02,500\na\n\n2\n00:00:02,000 --> 00:00:03,000\nb'),
  ).toBe(62.5)
  expect(secondsOfCues('WEBVTT\n\n00:00.000 --> 00:04.250 align:start\na')).toBe(4.25)
  expect(secondsOfCues('nothing of the kind')).toBeUndefined()
})
