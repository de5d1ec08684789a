// What is asked of a budget before a call, and what is charged after it, whatever the caller writes: never less than the upstream
// may bill.

import { afterEach, expect, test } from 'vitest'
import type { Ask, Money, Pieces } from '../collectors/proxy/money.ts'
import { readConfig } from '../schemas/config-file.ts'
import { newId } from '../schemas/ids.ts'
import { openMoney } from '../src/money/money.ts'
import { openRates } from '../src/money/rates.ts'
import { type ProxyWorld, startProxy, until } from './proxy-world.ts'
import { completion, hangAfter, json } from './upstream.ts'

let world: ProxyWorld
afterEach(() => world.end())

const asks: Ask[] = []
const used: (Pieces | undefined)[] = []
const money: Money = {
  take(ask) {
    asks.push(ask)
    return {
      headers: [],
      cost(_usage, pieces) {
        used.push(pieces)
        return { nanoUsd: 0n, version: 'p' }
      },
      settle() {},
    }
  },
}

async function asked(path: string, body: object): Promise<Ask | undefined> {
  asks.length = 0
  used.length = 0
  world = await startProxy({ money })
  world.upstream.play(json(completion('x')))
  await (await world.postTo(path, { model: 'm', ...body })).text()
  return asks[0]
}

const chat = '/v1/chat/completions'
const picture = `data:image/png;base64,${'A'.repeat(100_000)}`
const said = (content: unknown) => ({ messages: [{ role: 'user', content }] })

test.each<[string, object, number]>([
  ['a text that begins like a data URL', said(`data:${'word '.repeat(20_000)}`), 100_000],
  ['a text that is one', said(picture), 100_000],
  ['a text part that is one', said([{ type: 'text', text: picture }]), 100_000],
  [
    'a tool that looks like an image',
    {
      ...said('x'),
      tools: [{ type: 'function', image_url: { url: `data:${'word '.repeat(20_000)}` } }],
    },
    100_000,
  ],
  ['a quoted one inside a text', said(`"data:${'word '.repeat(20_000)}`), 100_000],
  [
    'an image by its address',
    said([{ type: 'image_url', image_url: { url: 'https://x.example/y.png' } }]),
    16_384,
  ],
])('%s is reserved for as all it can be read as', async (_what, body, least) => {
  const ask = await asked(chat, body)
  expect(ask?.inputTokensMax).toBeGreaterThanOrEqual(least)
})

test('an image in a data URL is reserved for as an image, not by its bytes', async () => {
  const ask = await asked(chat, said([{ type: 'image_url', image_url: { url: picture } }]))
  expect(ask?.inputTokensMax).toBeGreaterThan(16_000)
  expect(ask?.inputTokensMax).toBeLessThan(20_000)
  expect(ask?.inputIsOpen).toBe(false)
})

test.each<[string, object]>([
  ['by their addresses', { images: [{ image_url: 'https://x.example/y.png' }, { file_id: 'f' }] }],
  ['in data URLs', { image: [picture, picture] }],
  ['one of them the mask', { image: picture, mask: { image_url: picture } }],
])('pictures to be changed are reserved for as pictures, %s', async (_what, more) => {
  const ask = await asked('/v1/images/edits', { prompt: 'word '.repeat(1_000), ...more })
  expect(ask?.inputTokensMax).toBeGreaterThan(2 * 16_384 + 5_000)
  expect(ask?.inputTokensMax).toBeLessThan(2 * 17_000 + 6_000)
})

test('so are those of a form, however few their bytes; its texts by theirs, its sounds by their length', async () => {
  world = await startProxy({ money })
  const send = async (path: string, files: string[]) => {
    asks.length = 0
    const form = new FormData()
    form.append('model', 'm')
    form.append('prompt', 'word '.repeat(1_000))
    for (const name of files) form.append(name, new Blob(['x'.repeat(5_000)]), name)
    await (await fetch(world.url + path, { method: 'POST', body: form })).text()
    return asks[0]?.inputTokensMax
  }
  expect(await send('/v1/images/edits', ['image', 'mask'])).toBeGreaterThan(2 * 16_384 + 5_000)
  const heard = await send('/v1/audio/transcriptions', ['file'])
  expect(heard).toBeGreaterThan(5_000 + 100)
  expect(heard).toBeLessThan(5_000 + 200)
})

test.each<[string, object]>([
  ['/v1/responses', { input: 'x', previous_response_id: 'resp_1' }],
  ['/v1/responses', { input: 'x', conversation: 'conv_1' }],
  ['/v1/responses', { prompt: { id: 'pmpt_ABC' } }],
  ['/v1/responses', { input: 'x', tools: [{ type: 'web_search' }] }],
  [
    '/v1/responses',
    { input: [{ role: 'user', content: [{ type: 'input_file', file_id: 'file-1' }] }] },
  ],
  [chat, said([{ type: 'file', file: { file_id: 'file-1' } }])],
])(
  'a call of %s that reads more than its body has no bound but the model: %j',
  async (path, body) => {
    expect((await asked(path, body))?.inputIsOpen).toBe(true)
  },
)

test.each<[string, object, number | undefined]>([
  [chat, { ...said('x'), max_tokens: 5000, max_completion_tokens: 1 }, 5000],
  [chat, { ...said('x'), max_output_tokens: 1 }, undefined],
  ['/v1/responses', { input: 'x', max_output_tokens: 1, max_completion_tokens: 5000 }, 5000],
  ['/v1/responses', { input: 'x', max_output_tokens: 10, n: 128 }, 1280],
  ['/v1/responses', { input: 'x', max_tokens: 10 }, undefined],
])(
  'of several bounds on the answer of %s the largest is reserved for: %j',
  async (path, body, most) => {
    expect((await asked(path, body))?.outputTokensMax).toBe(most)
  },
)

test('a video of unsaid length is reserved for, and charged by what its answer says', async () => {
  world = await startProxy({ money })
  asks.length = 0
  used.length = 0
  world.upstream.play(json({ id: 'v1', object: 'video', status: 'queued', seconds: '4' }))
  await (await world.postTo('/v1/videos', { model: 'm', prompt: 'x' })).text()
  expect(asks[0]?.pieces?.videoSeconds).toBeGreaterThanOrEqual(4)
  expect(used).toContainEqual({ videoSeconds: 4 })
})

test('a video whose two lengths differ, or are none, is refused', async () => {
  world = await startProxy({ money })
  for (const more of [{ duration_seconds: 1, seconds: '12' }, { seconds: 'twelve' }]) {
    const answer = await world.postTo('/v1/videos', { model: 'm', prompt: 'x', ...more })
    expect([answer.status, (await answer.json()).error.param]).toEqual([400, 'seconds'])
  }
  expect(world.upstream.seen).toEqual([])
})

test('whoever leaves before the picture is done, with a sketch of it, is charged for it', async () => {
  world = await startProxy({ money })
  used.length = 0
  const sketch = { type: 'image_generation.partial_image', b64_json: 'QQ==' }
  world.upstream.play(hangAfter([`data: ${JSON.stringify(sketch)}\n\n`]))
  const leaving = new AbortController()
  const answer = await fetch(`${world.baseUrl}/images/generations`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ model: 'm', prompt: 'x', stream: true, partial_images: 1 }),
    signal: leaving.signal,
  })
  await answer.body?.getReader().read()
  leaving.abort()
  await until('it was stored', () => world.intake.rows.spans.length > 0)
  expect(used).toContainEqual({ images: 1 })
})

test('a limit of tokens gets back what the call did not use, whatever was reckoned meanwhile', async () => {
  const counters = { count() {} }
  const away = { query: () => Promise.reject(new Error('away')) }
  const rates = openRates({ sql: away, counters })
  const limit = { workspace: undefined, lane: undefined, region: undefined }
  const config = {
    ...readConfig('{}', { env: () => undefined, known: [] }),
    limits: [{ ...limit, requestsPerMinute: undefined, tokensPerMinute: 1_000 }],
  }
  const limited = openMoney({
    keys: { terms: () => ({ requestsPerMinute: undefined, monthlyBudgetNanoUsd: undefined }) },
    config: () => config,
    till: { id: 't', month: () => '', purse: unasked, close: unasked },
    rates,
    counters,
    isPrepaid: false,
    region: undefined,
  })
  const grant = await limited.take({
    ...{ workspace: 'w', keyId: 'k', runId: newId(), model: 'm', routeId: 'r', origin: '' },
    ...{ inputTokensMax: 500, outputTokensMax: 400, pieces: undefined },
  })
  const none = { cachedTokens: 0, reasoningTokens: 0, estimated: false }
  const usage = { ...none, inputTokens: 300, outputTokens: 100 }
  grant.cost(usage, undefined, 'm')
  // The note of an opening is written when the disk has time, which may be now.
  grant.cost({ ...none, inputTokens: 1, outputTokens: 0 }, undefined, 'm')
  grant.settle({ cost: undefined, usage })
  const left = rates.bucket('rule/[null,null,null]/1/tokens', 'tokens', 1_000).remaining()
  expect(left).toBeGreaterThanOrEqual(600)
  expect(left).toBeLessThan(700)
})

function unasked(): never {
  throw new Error('No purse is asked of a limit.')
}
