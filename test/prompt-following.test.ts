// Discovery sees every call, whoever carried it: what exporters report, and what other planes took, is met in the stores.

import { afterAll, beforeAll, expect, test } from 'vitest'
import { get, type Json } from './clients.ts'
import { chat, counted, dialectOf, exportCalls, type Pair, startPair } from './following-world.ts'

let pair: Pair
beforeAll(async () => {
  pair = await startPair()
})
afterAll(() => pair.end())

const eventually = { timeout: 50_000, interval: 300 }
const names = ['Ada', 'Bo', 'Carla', 'Emil', 'Farah', 'Goran', 'Hana']

// Prompts of different work have no line in common, or they would be versions of one.
const prompts = {
  'billing agent': ['Customer:', 'Answer politely.', 'End with a question.'],
  'night porter': ['Guest:', 'Mind the lift.', 'Give no key to strangers.'],
  lifeguard: ['Swimmer:', 'Whistle before you shout.', 'Never leave the tower.'],
  gardener: ['Visitor:', 'Name plants by their Latin names.', 'Speak of the weather first.'],
}

/** A prompt of which one line changes with every call, and a rule. */
function promptOf(role: keyof typeof prompts, rule: string, i: number): string {
  const [label, ...lines] = prompts[role]
  const who = `${label} ${names[i % 7]} ${names[(i * 3) % 7]}`
  return [`You are the ${role} of Contoso.`, who, ...lines, rule].join('\n')
}

function range(from: number, to: number): number[] {
  return Array.from({ length: to - from }, (_, i) => from + i)
}

test('two versions that exporters report in five dialects are found, with their variables, and their spans bear them', async () => {
  const [leader, other] = await pair.leaderFirst()
  const dialects = Object.values(dialectOf)
  const callsOf = (rule: string, from: number, to: number) =>
    range(from, to).map((i) => dialects[i % dialects.length]!(promptOf('billing agent', rule, i)))
  const before = await exportCalls(leader, callsOf('Offer at most 3 items.', 0, 70))
  const after = await exportCalls(other, callsOf('Never offer more than one item.', 70, 150))
  await expect
    .poll(() => counted(leader), eventually)
    .toEqual({ 'billing-agent-contoso@v1': 70, 'billing-agent-contoso@v2': 80 })
  const { variables } = (await get(leader, '/v1/prompts/billing-agent-contoso/versions/v2')).body
  expect(variables).toContain('customer')
  // Lists are told right after the spans that were counted: then nothing is listed as being without a version.
  const without = async () =>
    (await get(leader, '/v1/traces?prompt_version_id=default')).body.items.length
  await expect.poll(without, eventually).toBe(0)
  for (const [traceId, version] of [
    [before[0], 'v1'],
    [after.at(-1), 'v2'],
  ]) {
    const { body } = await get(leader, `/v1/traces/${traceId}`)
    const versionId = `billing-agent-contoso@${version}`
    expect([body.prompt_version_id, body.spans[0].prompt_version_id]).toEqual([
      versionId,
      versionId,
    ])
  }
})

test('a prompt is one prompt whichever way its calls came: through the leader, through another plane, or told by an exporter', async () => {
  const [leader, other] = await pair.leaderFirst()
  const ask = (i: number) => promptOf('night porter', 'Keep the keys.', i)
  for (const i of range(0, 40)) await chat(leader, ask(i))
  for (const i of range(40, 80)) await chat(other, ask(i))
  await exportCalls(
    other,
    range(80, 120).map((i) => dialectOf.genai!(ask(i))),
  )
  const ours = async () =>
    Object.entries(await counted(leader)).filter(([id]) => id.startsWith('night-porter'))
  await expect.poll(ours, eventually).toEqual([['night-porter-contoso@v1', 120]])
})

test('when the leader is cut off before it writes anything down, what it had seen since is met again: no call is missed', async () => {
  const [leader, other] = await pair.leaderFirst()
  const ask = (i: number) => promptOf('lifeguard', 'Ask for the depth.', i)
  // Too few to be found before the cut.
  for (const i of range(0, 20)) await chat(leader, ask(i))
  await exportCalls(
    other,
    range(20, 35).map((i) => dialectOf.openllmetry!(ask(i))),
  )
  await pair.cutLeader()
  for (const i of range(35, 90)) await chat(other, ask(i))
  const ours = async () =>
    Object.entries(await counted(other)).filter(([id]) => id.startsWith('lifeguard'))
  await expect.poll(ours, eventually).toEqual([['lifeguard-contoso@v1', 90]])
})

test('when the leader goes, the other goes on where it ended: no call is missed, and none counts twice', async () => {
  const [leader, other] = await pair.leaderFirst()
  const ask = (i: number) => promptOf('gardener', 'Water the roses.', i)
  for (const i of range(0, 30)) await chat(leader, ask(i))
  for (const i of range(30, 45)) await chat(other, ask(i))
  // Reading loads what it accepted; what a plane leaves on its disk the others wait for until it is back.
  await counted(leader)
  await leader.plane.stop()
  for (const i of range(45, 60)) await chat(other, ask(i))
  await exportCalls(
    other,
    range(60, 100).map((i) => dialectOf.openinference!(ask(i))),
  )
  const ours = async () =>
    Object.entries(await counted(other)).filter(([id]) => id.startsWith('gardener'))
  await expect.poll(ours, eventually).toEqual([['gardener-contoso@v1', 100]])
  const { items } = (await get(other, '/v1/prompts/gardener-contoso/history?check=1')).body
  const found = items.find((one: Json) => one.type === 'discovered')
  expect(found.evidence.runs).toBeLessThanOrEqual(100)
})
