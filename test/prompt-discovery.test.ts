// Versions found in nothing but traffic, on a started plane: calls go in through the proxy without a word about prompts.

import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { Json } from './clients.ts'
import { newDataDir, removeDataDir } from './product.ts'
import { startWorld, type World } from './world.ts'

let world: World
let dataDir: string

beforeEach(async () => {
  dataDir = newDataDir()
  world = await startWorld({ RUNLEDGER_DATA_DIR: dataDir })
})

afterEach(async () => {
  await world.end()
  removeDataDir(dataDir)
})

const names = ['Ada', 'Bo', 'Carla', 'Emil', 'Farah', 'Goran', 'Hana']

function promptOf(rule: string, i: number): string {
  return `You are the billing agent of Contoso.\nCustomer: ${names[i % 7]} ${names[(i * 3) % 7]}\nAnswer politely.\n${rule}\nEnd with a question.`
}

async function chat(content: string, headers: Record<string, string> = {}): Promise<Headers> {
  const answer = await fetch(`${world.url}/v1/chat/completions`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${world.key}`,
      'content-type': 'application/json',
      ...headers,
    },
    body: JSON.stringify({
      model: 'gpt-4o-mini',
      messages: [
        { role: 'system', content },
        { role: 'user', content: 'Where is my invoice?' },
      ],
    }),
  })
  expect(answer.status).toBe(200)
  await answer.text()
  return answer.headers
}

async function get(path: string): Promise<Json> {
  const answer = await fetch(`${world.url}${path}`, {
    headers: { authorization: `Bearer ${world.key}` },
  })
  return answer.json()
}

const versionHeader = 'x-batchin-prompt-version'
const listed = async (): Promise<Json[]> => (await get('/v1/prompts')).items

async function play(rule: string, times: number, from = 0): Promise<string[]> {
  const told: string[] = []
  for (let i = from; i < from + times; i++)
    told.push((await chat(promptOf(rule, i))).get(versionHeader) ?? '')
  return told
}

describe('two versions of a system prompt', () => {
  test('are found without a header, every run is told its own, and calls say it themselves in the end', async () => {
    await expect.poll(leads, { timeout: 10_000 }).toBe(true)
    const before = await play('Offer at most 3 items.', 90)
    const after = await play('Never offer more than one item.', 110, 90)
    expect(before[0]).toBe('default')
    const [item] = await expect
      .poll(listed, { timeout: 15_000 })
      .toEqual([
        expect.objectContaining({ latest_version_id: 'billing-agent-contoso@v2', total_runs: 200 }),
      ])
      .then(listed)
    expect(item).toMatchObject({
      source: 'auto_backfill',
      baseline_version_id: 'billing-agent-contoso@v1',
      mode: 'observe',
      versions: [
        { version_id: 'billing-agent-contoso@v1', total_runs: 90 },
        { version_id: 'billing-agent-contoso@v2', total_runs: 110 },
      ],
    })
    expect(after.at(-1)).toBe('billing-agent-contoso@v2')
    const { parts } = await get('/v1/prompts/billing-agent-contoso/diff?from=v1&to=v2')
    expect(parts.text.lines.filter((line: Json) => line.kind !== 'same')).toEqual([
      { kind: 'removed', text: 'Offer at most 3 items.' },
      { kind: 'added', text: 'Never offer more than one item.' },
    ])
    const { variables } = await get('/v1/prompts/billing-agent-contoso/versions/v2')
    expect(variables).toContain('customer')

    await world.end()
    world = await startWorld({ RUNLEDGER_DATA_DIR: dataDir })
    await expect.poll(leads, { timeout: 10_000 }).toBe(true)
    // What was known is known again: one call is enough, where the first time it took dozens.
    const [first = ''] = await play('Never offer more than one item.', 1, 300)
    expect(['default', 'billing-agent-contoso@v2']).toContain(first)
    await expect
      .poll(async () => (await listed())[0], { timeout: 15_000 })
      .toMatchObject({ total_runs: 201, latest_version_id: 'billing-agent-contoso@v2' })
  })
})

test('versions that callers name have their content after three calls, and a name alone is told which', async () => {
  await expect.poll(leads, { timeout: 10_000 }).toBe(true)
  for (const [version, text] of [
    ['v1', 'Be brief.'],
    ['v2', 'Be kind.'],
  ] as const)
    for (let i = 0; i < 3; i++) {
      const headers = await chat(text, { 'x-batchin-prompt-version': `support@${version}` })
      expect(headers.get(versionHeader)).toBe(`support@${version}`)
    }
  const contentOf = async (version: string) =>
    (await get(`/v1/prompts/support/versions/${version}`)).messages
  await expect
    .poll(() => contentOf('v1'), { timeout: 10_000 })
    .toEqual([{ role: 'system', content: 'Be brief.' }])
  await expect
    .poll(() => contentOf('v2'), { timeout: 10_000 })
    .toEqual([{ role: 'system', content: 'Be kind.' }])
  const { items } = await get('/v1/prompts/support/history?check=1')
  // An experiment may begin meanwhile, even of a version that is known by its name alone: its moves are not looked at here.
  const found = items.filter(({ type }: Json) => /^(created|discovered|baseline)$/.test(type))
  expect(found.map((one: Json) => [one.type, one.version_id])).toEqual([
    ['discovered', 'support@v2'],
    ['baseline', 'support@v1'],
    ['discovered', 'support@v1'],
    ['created', undefined],
  ])
})

/** True once this process looks at calls: until then they pass unseen. */
async function leads(): Promise<boolean> {
  const answer = await fetch(`${world.url}/metrics`, {
    headers: { authorization: `Bearer ${world.key}` },
  })
  return (await answer.text()).includes('runledger_prompt_discovery_leads 1')
}
