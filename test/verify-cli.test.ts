// runledger verify: what it says and how it ends.

import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { toMultikey } from '../schemas/encoding.ts'
import { verifyFile } from '../src/cli/verify.ts'
import { input, output, packOf, rootMultikey } from './signed.ts'

let dir: string
const at = (name: string) => join(dir, name)

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'verify-'))
  const { pack, salts } = await packOf()
  const text = JSON.stringify(pack)
  await Promise.all([
    writeFile(at('pack.json'), text),
    writeFile(at('spaced.json'), JSON.stringify(pack, null, 2)),
    writeFile(at('tampered.json'), text.replace('"output_tokens":4', '"output_tokens":5')),
    writeFile(at('twice.json'), text.replace('"provider":', '"provider":"openai","provider":')),
    writeFile(at('latin.json'), Buffer.from([0x7b, 0xe9, 0x7d])),
    writeFile(at('salts.json'), JSON.stringify({ record_id: pack.record_id, ...salts })),
    writeFile(at('request.json'), JSON.stringify({ ...input, stream: true }, null, 2)),
    writeFile(at('answer.json'), JSON.stringify({ id: 'x', ...output })),
    writeFile(at('other.json'), JSON.stringify({ ...input, temperature: 1 })),
  ])
})
afterAll(() => rm(dir, { recursive: true }))
const exitCode = process.exitCode
afterEach(() => {
  process.exitCode = exitCode
})

async function run(...args: string[]): Promise<{ said: string; code: typeof process.exitCode }> {
  let said = ''
  await verifyFile(args, (text) => {
    said += text
  })
  return { said, code: process.exitCode }
}

const root = ['--root', rootMultikey]

test('a pack under a known root ends with 0, however its JSON is spaced', async () => {
  for (const file of ['pack.json', 'spaced.json']) {
    const { said, code } = await run(at(file), ...root)
    expect([code, said.split('\n').at(-2)]).toEqual([0, 'VALID SIGNATURE, NOT YET LOGGED'])
  }
})

test('a root among several given is enough; a root nobody knows is not', async () => {
  const stranger = toMultikey(new Uint8Array(32).fill(9))
  expect((await run(at('pack.json'), '--root', stranger, ...root)).code).toBe(0)
  expect(await run(at('pack.json'), '--root', stranger)).toMatchObject({
    code: 1,
    said: expect.stringMatching(/INVALID: root\n$/),
  })
})

test('without a root it ends with 3: the pack could be anybody’s', async () => {
  expect((await run(at('pack.json'))).code).toBe(3)
})

test('a tampered pack ends with 1 and names the check', async () => {
  const { said, code } = await run(at('tampered.json'), ...root)
  expect([code, said.split('\n').at(-2)]).toEqual([1, 'INVALID: canonical'])
  expect(said).toMatch(/^FAILS {2}signature_noble/m)
  expect((await run(at('twice.json'), ...root)).said).toMatch(
    /FAILS {2}schema .*"provider" appears twice/,
  )
})

test('texts are compared with the commitments', async () => {
  const salts = ['--disclosure', at('salts.json')]
  const texts = ['--input', at('request.json'), '--output', at('answer.json')]
  expect((await run(at('pack.json'), ...root, ...salts, ...texts)).code).toBe(0)
  const wrong = await run(at('pack.json'), ...root, ...salts, '--input', at('other.json'))
  expect([wrong.code, wrong.said.split('\n').at(-2)]).toEqual([1, 'INVALID: disclosure'])
})

test.each<[string, () => string[], RegExp]>([
  ['no file', () => [], /Name one evidence pack/],
  ['two files', () => [at('pack.json'), at('pack.json')], /Name one evidence pack/],
  ['a file that is not there', () => [at('nothing.json')], /ENOENT/],
  ['a file that is no text', () => [at('latin.json')], /not UTF-8/],
  ['a root that is no key', () => [at('pack.json'), '--root', 'z6MkNo'], /not an Ed25519 Multikey/],
  ['texts without salts', () => [at('pack.json'), '--input', at('request.json')], /need the salts/],
  ['an option that does not exist', () => [at('pack.json'), '--trust-me'], /Unknown option/],
])('%s ends with 2 and the usage', async (_, args, says) => {
  const { said, code } = await run(...args())
  expect(code).toBe(2)
  expect(said).toMatch(says)
  expect(said).toContain('runledger verify FILE')
})
