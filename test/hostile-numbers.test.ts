// Numbers that no honest caller or upstream sends, wherever one may stand: a caller is told which is wrong, an upstream's is not
// believed, and neither breaks the reckoning.

import { afterAll, beforeAll, expect, test } from 'vitest'
import { answerOf, type MoneyWorld, startMoneyWorld } from './money-world.ts'
import { json } from './upstream.ts'

let world: MoneyWorld
beforeAll(async () => {
  world = await startMoneyWorld({
    config: {
      models: [
        {
          id: 'priced',
          context_length: 1000,
          pricing: {
            std_input: 1,
            std_output: 2,
            image_piece: 0.01,
            audio_second: 0.001,
            video_second: 0.01,
            million_characters: 10,
          },
        },
      ],
    },
  })
})
afterAll(() => world.end())

const odd = [
  '1e21',
  '1e300',
  '1e999',
  '-1e999',
  '-1',
  '0',
  '0.5',
  '1e-9',
  '"7"',
  'null',
  '[]',
  '{}',
]
const messages = '"messages":[{"role":"user","content":"x"}]'
const picture = '"prompt":"x"'

const send = (path: string, body: string, key: string) =>
  fetch(world.url + path, {
    method: 'POST',
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
    body,
  })

test.each<[string, string, string, object]>([
  ['max_tokens', '/v1/chat/completions', messages, answerOf(1, 1)],
  ['max_completion_tokens', '/v1/chat/completions', messages, answerOf(1, 1)],
  ['n', '/v1/chat/completions', messages, answerOf(1, 1)],
  ['temperature', '/v1/chat/completions', messages, answerOf(1, 1)],
  ['max_output_tokens', '/v1/responses', '"input":"x"', { object: 'response', output: [] }],
  ['max_tokens', '/v1/completions', '"prompt":"x"', { choices: [{ text: 'y' }] }],
  ['best_of', '/v1/completions', '"prompt":"x"', { choices: [{ text: 'y' }] }],
  ['dimensions', '/v1/embeddings', '"input":"x"', { data: [{ index: 0, embedding: [1] }] }],
  ['n', '/v1/images/generations', picture, { data: [{ b64_json: 'eA==' }] }],
  ['seconds', '/v1/videos', picture, { id: 'v1', object: 'video', status: 'completed' }],
  ['duration_seconds', '/v1/videos', picture, { id: 'v2', object: 'video', status: 'completed' }],
])(
  '%s of %s may be anything: it is refused by name, or the call has its cost',
  async (name, path, rest, answer) => {
    const key = await world.newKey({ monthly_budget_cents: 1_000 })
    world.upstream.play(json(answer))
    for (const value of odd) {
      const response = await send(path, `{"model":"priced",${rest},"${name}":${value}}`, key.key)
      const text = await response.text()
      expect([200, 400, 402], `${name}: ${value} gave ${response.status} ${text}`).toContain(
        response.status,
      )
    }
    const rows = await world.get(`/v1/usage/logs?limit=500&key_id=${key.id}`)
    for (const row of rows) expect(row.cost_cents).toBeLessThanOrEqual(1_000)
  },
)

test.each(odd)(
  'seconds of %s, as an upstream reports them, are believed only where they can be',
  async (value) => {
    const raw = (text: string) => (res: import('node:http').ServerResponse) => {
      res.writeHead(200, { 'content-type': 'application/json' })
      res.end(text)
    }
    for (const keyed of [true, false]) {
      const key = await world.newKey(keyed ? { monthly_budget_cents: 1_000 } : {})
      const form = new FormData()
      form.append('model', 'priced')
      form.append('file', new File([Buffer.alloc(4_000)], 'a.mp3', { type: 'audio/mpeg' }))
      world.upstream.play(raw(`{"text":"hello","duration":${value}}`))
      const heard = await fetch(`${world.url}/v1/audio/transcriptions`, {
        method: 'POST',
        headers: { authorization: `Bearer ${key.key}` },
        body: form,
      })
      expect(heard.status).toBe(200)
      world.upstream.play(
        raw(
          `{"id":"v${keyed}${odd.indexOf(value)}","object":"video","status":"completed","seconds":${value},"completed_at":${value}}`,
        ),
      )
      const seen = await send('/v1/videos', `{"model":"priced",${picture},"seconds":4}`, key.key)
      expect(seen.status).toBe(200)
      const rows = await world.rowsOf(`key_id=${key.id}`, 2)
      expect(rows).toHaveLength(2)
      for (const row of rows) {
        expect(row.cost_cents).toBeGreaterThanOrEqual(0)
        expect(row.cost_cents).toBeLessThan(100)
      }
      const record = seen.headers.get('x-vaas-record-id')
      expect((await world.get(`/v1/vaas/${record}/verify`)).valid).toBe(true)
    }
  },
)
