// Forms that no honest client sends: refused by what is wrong with them, before anything is asked of the upstream, and with nothing left
// on the disk; a file is stored under its hash, whatever it is called.

import { createHash } from 'node:crypto'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { type ProxyWorld, startProxy, until, workspace } from './proxy-world.ts'
import { json } from './upstream.ts'

let world: ProxyWorld
beforeAll(async () => {
  world = await startProxy()
})
afterAll(() => world.end())
beforeEach(() => {
  world.upstream.seen.length = 0
  for (const rows of Object.values(world.intake.rows)) rows.length = 0
})

const sha256 = createHash('sha256').update('a sound').digest('hex')

describe('a form that no honest client sends', () => {
  const part = (head: string, content: string) => `--b\r\n${head}\r\n\r\n${content}\r\n`
  const field = (name: string, text: string) =>
    part(`Content-Disposition: form-data; name="${name}"`, text)
  const file = (filename: string) =>
    part(
      `Content-Disposition: form-data; name="file"; filename="${filename}"\r\nContent-Type: audio/wav`,
      'a sound',
    )
  const end = '--b--\r\n'
  const named = field('model', 'm')
  const send = (body: string, type = 'multipart/form-data; boundary=b') =>
    fetch(`${world.baseUrl}/audio/transcriptions`, {
      method: 'POST',
      headers: { 'content-type': type },
      body: Buffer.from(body),
    })

  test.each<[string, string, string?]>([
    ['a boundary of 10 KB', named, `multipart/form-data; boundary=${'b'.repeat(10_000)}`],
    ['another boundary than it says', named + file('a') + end, 'multipart/form-data; boundary=c'],
    ['no end', named + file('a')],
    ['nothing in it', ''],
    ['a header of 2 MB in a part', `--b\r\nX: ${'y'.repeat(2_000_000)}\r\n\r\nz\r\n${end}`],
    ['a hundred thousand headers in a part', `--b\r\n${'X: y\r\n'.repeat(100_000)}\r\nz\r\n${end}`],
    ['ten thousand fields', field('a', 'x').repeat(10_000) + end],
    ['a hundred files', file('a').repeat(100) + end],
    [
      'a part without a name',
      named + part('Content-Disposition: form-data', 'x') + file('a') + end,
    ],
    ['a NUL in a file’s name', named + file('a\0b') + end],
    ['two files', named + file('a') + file('b') + end],
    ['two models', named + field('model', 'other') + file('a') + end],
    ['a model that is a file', file('a').replace('"file"', '"model"') + file('a') + end],
    ['a file that is a text', named + field('file', 'x') + end],
  ])('with %s is refused, and leaves nothing', async (_what, body, type) => {
    const answer = await send(body, type)
    expect([answer.status, (await answer.json()).error.code]).toEqual([400, 'invalid_request'])
    expect(world.upstream.seen).toEqual([])
    const incoming = join(world.mediaDir, 'incoming')
    await until('nothing is left', () => readdirSync(incoming).length === 0)
    expect(world.intake.rows.spans).toEqual([])
  })

  test.each(['../../x', 'C:\\\\x', 'n'.repeat(300), 'a.wav%0d%0aX: y', 'ü😀'])(
    'whose file is called %s has it stored under its hash, and passes as it came',
    async (filename) => {
      world.upstream.play(json({ text: 'ok' }))
      const body = named + file(filename) + end
      expect((await send(body)).status).toBe(200)
      expect(String(world.upstream.seen[0]?.body)).toBe(body)
      await world.media.flush()
      expect(await world.media.find(workspace, sha256)).toMatchObject({ bytes: 7 })
    },
  )
})
