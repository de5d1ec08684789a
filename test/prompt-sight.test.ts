// What a call's answer, its record and its run say of a prompt that the call does not name, as it is known sooner or later.

import { afterEach, expect, test } from 'vitest'
import { Fault } from '../schemas/faults.ts'
import type { PromptSights, SeenCall } from '../schemas/prompt.ts'
import { type ProxyWorld, startProxy } from './proxy-world.ts'
import { completion, helloEvents, json, type Script, sse } from './upstream.ts'

let proxy: ProxyWorld

afterEach(() => proxy.end())

type Found = (versionId: string) => boolean

/** A finder of versions that the test speaks for. */
function finder(atOnce?: string) {
  const seen: { call: SeenCall; found: Found }[] = []
  const sights: PromptSights = {
    see(call, found) {
      seen.push({ call, found })
      return atOnce
    },
  }
  return { seen, sights }
}

const asked = (more: object = {}) => ({
  model: 'm',
  messages: [
    { role: 'system', content: 'Be brief.' },
    { role: 'user', content: 'Hi' },
  ],
  ...more,
})
const header = (answer: Response) => answer.headers.get('x-batchin-prompt-version')
const storedVersion = () => proxy.intake.rows.spans.at(-1)?.prompt_version_id

test('a version that is known at once is said, signed and stored', async () => {
  const { sights, seen } = finder('support@v2')
  proxy = await startProxy({ sights })
  proxy.upstream.play(json(completion('Hello')))
  expect(header(await proxy.post(asked({ temperature: 0 })))).toBe('support@v2')
  expect(storedVersion()).toBe('support@v2')
  expect(seen[0]!.call).toMatchObject({
    messages: asked().messages,
    temperature: 0,
    slug: undefined,
  })
})

test('one that is found while the upstream thinks is said by an answer that was held', async () => {
  const { sights, seen } = finder()
  proxy = await startProxy({ sights })
  const answer: Script = (res, call) => {
    expect(seen[0]!.found('support@v3')).toBe(true)
    return json(completion('Hello'))(res, call)
  }
  proxy.upstream.play(answer)
  expect(header(await proxy.post(asked()))).toBe('support@v3')
  expect(storedVersion()).toBe('support@v3')
  expect(seen[0]!.found('support@v4')).toBe(false)
})

test('a stream that was opened keeps what it said, and its run is stored under what was found', async () => {
  const { sights, seen } = finder()
  proxy = await startProxy({ sights })
  const events = sse(helloEvents)
  proxy.upstream.play((res, call) => {
    seen[0]!.found('support@v3')
    return events(res, call)
  })
  const answer = await proxy.post(asked({ stream: true }))
  await answer.text()
  expect(header(answer)).toBe('default')
  expect(storedVersion()).toBe('support@v3')
  const said = proxy.intake.rows.records.map(({ phase, canonical }) => [
    phase,
    JSON.parse(String(canonical)).prompt_version_id,
  ])
  expect(said).toEqual([
    ['begin', 'default'],
    ['final', 'default'],
  ])
})

test('who names a version means it; who names a prompt alone is told', async () => {
  const { sights, seen } = finder('support@v9')
  proxy = await startProxy({ sights })
  proxy.upstream.play(json(completion('Hello')))
  const named = await proxy.post(asked(), { 'x-batchin-prompt-version': 'support@v1' })
  expect(header(named)).toBe('support@v1')
  const slug = await proxy.post(asked(), { 'x-batchin-prompt': 'support' })
  expect(header(slug)).toBe('support@v9')
  expect(seen.map(({ call }) => [call.slug, call.version])).toEqual([
    ['support', 'v1'],
    ['support', undefined],
  ])
})

test('replays, and calls whose texts are not kept, are not shown to anybody', async () => {
  const { sights, seen } = finder('support@v9')
  proxy = await startProxy({ sights, caller: { by: 'internal' } })
  proxy.upstream.play(json(completion('Hello')))
  await proxy.post(asked(), { 'x-batchin-origin': 'replay' })
  await proxy.post(asked(), { 'x-batchin-capture': 'usage' })
  expect(seen).toEqual([])
  expect(header(await proxy.post(asked()))).toBe('support@v9')
})

test('a call that its budget refuses is not shown to anybody: it never becomes traffic', async () => {
  const { sights, seen } = finder('support@v9')
  const take = () => {
    throw new Fault('payment_required')
  }
  proxy = await startProxy({ sights, money: { take } })
  expect((await proxy.post(asked())).status).toBe(402)
  expect(seen).toEqual([])
})
