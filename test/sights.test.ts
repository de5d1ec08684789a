// What discovery is shown of the calls that pass, and how often.

import { beforeEach, expect, test } from 'vitest'
import { openSights, type Sights } from '../src/registry/sights.ts'

let sights: Sights
let shown: number[]
let messages: number
let noted: number

beforeEach(() => {
  sights = openSights({ count() {} })
  shown = []
  messages = 0
  noted = 0
  sights.feed({
    send(calls) {
      messages += 1
      shown.push(...calls.map(({ id }) => id))
    },
    note() {
      noted += 1
    },
  })
})

const callOf = (content: string) => ({
  workspace: 'w',
  ref: new Uint8Array(16),
  messages: [{ role: 'system', content }],
  tools: undefined,
  responseFormat: undefined,
  temperature: undefined,
  slug: undefined,
  version: undefined,
  user: '',
  redact: undefined,
  atMs: 0,
})

/** How many of so many calls with this prompt are shown, when each that is shown is answered with this version. */
function play(content: string, times: number, versionId: string | undefined): number {
  const before = shown.length
  for (let i = 0; i < times; i++) {
    const from = shown.length
    sights.see(callOf(content), () => true)
    sights.flush()
    sights.settle(shown.slice(from).map((id) => ({ id, versionId })))
  }
  return shown.length - before
}

test('a prompt whose version is not known is shown with every call', () => {
  expect(play('Be brief.', 1000, undefined)).toBe(1000)
})

test('a known prompt is shown often enough to be learned from, then with one call in sixteen, and always said', () => {
  expect(play('Be brief.', 161, 'support@v1')).toBe(161)
  expect(play('Be brief.', 1600, 'support@v1')).toBe(100)
  for (let i = 0; i < 16; i++)
    expect(sights.see(callOf('Be brief.'), () => true)).toBe('support@v1')
  sights.flush()
  expect(play('Be kind.', 100, undefined)).toBe(100)
})

test('a prompt that turns out to be of another version, or was forgotten, is shown with every call again', () => {
  play('Be brief.', 400, 'support@v1')
  // One of these is shown, and answered with the other version.
  play('Be brief.', 16, 'support@v2')
  expect(play('Be brief.', 100, 'support@v2')).toBe(100)
  play('Be brief.', 400, 'support@v2')
  sights.forget('w', 'support@v2')
  expect(play('Be brief.', 100, 'support@v3')).toBe(100)
})

test('calls that come together are shown in one message, by themselves', async () => {
  for (let i = 0; i < 50; i++) sights.see(callOf(`Be brief. ${i}`), () => true)
  expect([shown.length, messages]).toEqual([0, 0])
  await expect.poll(() => shown.length).toBe(50)
  expect(messages).toBe(1)
  expect(sights.waiting()).toBe(50)
})

test('a call that is met in the stores is answered alike, and leaves room to those that pass, which alone are noted', () => {
  for (let i = 0; i < 499; i++) sights.meet(callOf(`Be brief. ${i}`), () => true)
  expect([sights.hasRoom(), noted]).toEqual([true, 0])
  sights.see(callOf('Be kind.'), () => true)
  expect([sights.hasRoom(), noted]).toEqual([false, 1])
  // What finds no room at all is not noted: it is met later.
  for (let i = 0; i < 600; i++) sights.see(callOf(`Be quick. ${i}`), () => true)
  expect([sights.waiting(), noted]).toEqual([1_000, 501])
})
