// Discovery as laws: what is found in traffic whose prompts and versions are known.

import { describe, expect, test } from 'vitest'
import { openDiscovery } from '../replay/discovery/discovery.ts'
import { newVersionsPerHour, poolMax, recentMax } from '../replay/discovery/limits.ts'
import { carry, extract, render } from '../replay/discovery/template.ts'
import type { Observation } from '../schemas/discovery.ts'
import { discover } from './discovery-run.ts'
import { makeTraffic, pairScore } from './traffic.ts'

const startMs = Date.UTC(2026, 10, 20)
const small = { families: 4, requests: 150 }

function say(text: string, i: number, more: Partial<Observation> = {}): Observation {
  return {
    workspace: 'w1',
    ref: `r${i}`,
    atMs: startMs + i * 1_000,
    messages: [{ role: 'system', content: text }],
    ...more,
  }
}

// One to three words, none of which all names share.
function nameOf(i: number): string {
  const first = ['Ada', 'Bo', 'Carla', 'Emil', 'Farah', 'Goran', 'Hana'][i % 7]
  return `${first} ${['Berg', 'de Souza', 'van der Meer', 'Ito', 'Kim'][i % 5]}`
}

function prompt(rule: string, name = 'Ada'): string {
  return `You are the billing agent of Contoso.\nCustomer: ${name}\nAnswer politely and in full sentences.\n${rule}\nEnd with a question.`
}

describe('versions in traffic', () => {
  test.each([1, 2])('are the true ones where prompts hold no variables, seed %i', (seed) => {
    expect(discover(makeTraffic({ seed, mix: 'easy', ...small })).versionF1).toBeGreaterThanOrEqual(
      0.98,
    )
  })

  test.each([1, 2])('are the true ones under names, dates and optional lines, seed %i', (seed) => {
    expect(
      discover(makeTraffic({ seed, mix: 'medium', ...small })).versionF1,
    ).toBeGreaterThanOrEqual(0.98)
  })

  // The bar is a mean over ten seeds, which the bench prints; two seeds of half the mix are held to the same here.
  test('are the true ones under retrieved text, examples, one-offs and shared preambles', () => {
    const scores = [1, 2].map(
      (seed) => discover(makeTraffic({ seed, mix: 'hard', families: 6 })).versionF1,
    )
    expect((scores[0]! + scores[1]!) / 2).toBeGreaterThanOrEqual(0.98)
  })

  test.each([1, 2])(
    'are the true ones where headers name them, whatever the prompts hold, seed %i',
    (seed) => {
      const calls = makeTraffic({ seed, mix: 'hard', headers: 'version', ...small })
      expect(discover(calls).versionF1).toBeGreaterThanOrEqual(0.999)
    },
  )

  test('differ by a single digit or a single "not"', () => {
    for (const [old, next] of [
      ['Offer at most 3 items.', 'Offer at most 5 items.'],
      ['Do offer a refund when asked.', 'Do not offer a refund when asked.'],
    ] as const) {
      const discovery = openDiscovery()
      for (let i = 0; i < 400; i++)
        discovery.observe(say(prompt(i < 200 ? old : next, nameOf(i)), i))
      expect(discovery.observe(say(prompt(old, 'Bob'), 400)).versionId).toBe(
        'billing-agent-contoso@v1',
      )
      expect(discovery.observe(say(prompt(next, 'Bob'), 401)).versionId).toBe(
        'billing-agent-contoso@v2',
      )
    }
  })

  test('do not differ by a name, a date or white space', () => {
    const discovery = openDiscovery()
    const blanks = ['\n', '\r\n', '\n\n', '  \n']
    for (let i = 0; i < 400; i++) {
      const text = prompt(`Today is 2026-11-${10 + (i % 20)}.`, nameOf(i))
      discovery.observe(say(text.replaceAll('\n', blanks[i % 4]!), i))
    }
    expect(discovery.drain().filter((event) => event.type === 'version_stable')).toHaveLength(1)
  })
})

describe('a line or a word that comes or goes for half of the traffic', () => {
  const with_ = prompt('Never name a price.\nOffer at most 3 items.')
  const without = prompt('Offer at most 3 items.')
  // A fair share in no order: bits of a number that multiplies.
  const isHalf = (i: number) => ((i * 2_654_435_761) >>> 13) % 2 === 0

  test.each([
    ['added', without, with_],
    ['taken away', with_, without],
    ['a word more', without, without.replace('at most 3', 'at most only 3')],
    ['a word less', without, without.replace('politely and', 'and')],
  ])('%s at one moment, is an edit: both are versions', (_, old, next) => {
    const discovery = openDiscovery()
    const texts = Array.from({ length: 300 }, (_, i) => (i >= 100 && isHalf(i) ? next : old))
    for (const [i, text] of texts.entries())
      discovery.observe(say(text.replace('Ada', nameOf(i)), i))
    const told = [old, next].map((text, i) => discovery.observe(say(text, 300 + i)).versionId)
    expect(told).toEqual(['billing-agent-contoso@v1', 'billing-agent-contoso@v2'])
  })

  test.each([
    ['from the first call on', (i: number) => (isHalf(i) ? with_ : without)],
    [
      'as another line does that an edit brought with it',
      (i: number) => {
        if (i < 100) return without
        return `${isHalf(i) ? with_ : without}${isHalf(i * 7) ? '\nSay which day it is.' : ''}`
      },
    ],
  ])('%s, is a condition: there is one version', (_, text) => {
    const discovery = openDiscovery()
    for (let i = 0; i < 400; i++) discovery.observe(say(text(i).replace('Ada', nameOf(i)), i))
    const stable = discovery.drain().filter((event) => event.type === 'version_stable')
    expect(stable.map((event) => event.versionId)).toEqual(['billing-agent-contoso@v1'])
  })
})

test.each([1, 2, 3])('a prompt that says its lines %i times over has its versions', (times) => {
  const discovery = openDiscovery()
  for (let i = 0; i < 200; i++) {
    const text = prompt(i < 100 ? 'Offer at most 3 items.' : 'Offer no item.', nameOf(i))
    discovery.observe(say(Array(times).fill(text).join('\n'), i))
  }
  const stable = discovery.drain().filter((event) => event.type === 'version_stable')
  expect(stable.map((event) => event.versionId)).toEqual([
    'billing-agent-contoso@v1',
    'billing-agent-contoso@v2',
  ])
})

test('a prompt is given back byte for byte from its template and its values', () => {
  const discovery = openDiscovery()
  const texts = Array.from({ length: 300 }, (_, i) => prompt('Offer at most 3 items.', nameOf(i)))
  for (const [i, text] of texts.entries()) discovery.observe(say(text, i))
  const template = discovery.template('w1', 'billing-agent-contoso@v1')!
  for (const text of texts) {
    const values = extract(template, text)!
    expect(render(template, values)).toBe(text)
    expect(carry(values, template, template)).toEqual({ values, missing: [] })
  }
  const named = Object.fromEntries(
    template.slots.map((slot, i) => [slot.name, extract(template, texts[7]!)![i]]),
  )
  expect(named.customer?.trim()).toBe(nameOf(7))
  expect(extract(template, 'Another prompt altogether.')).toBeUndefined()
})

test('texts that are to be forgotten are in no snapshot, names stay, and templates come again', () => {
  const discovery = openDiscovery()
  const holds = (text: string) => Buffer.from(discovery.snapshot()).includes(text)
  for (let i = 0; i < 60; i++) discovery.observe(say(prompt('Be brief.'), i))
  discovery.observe(say('A secret that nobody repeats', 60))
  discovery.look(60)
  expect([holds('Be brief.'), holds('A secret')]).toEqual([true, true])
  const { versionId = '' } = discovery.observe(say(prompt('Be brief.'), 61))
  discovery.forgetTexts('w1')
  expect([holds('Be brief.'), holds('A secret')]).toEqual([false, false])
  expect(discovery.template('w1', versionId)).toBeUndefined()
  expect(discovery.observe(say(prompt('Be brief.'), 62)).versionId).toBe(versionId)
  expect(discovery.template('w1', versionId)).toBeDefined()
})

test('the same observations in the same order give the same ids and events, over a snapshot too', () => {
  const calls = makeTraffic({ seed: 3, mix: 'hard', families: 2, requests: 100 })
  const once = discover(calls)
  const first = openDiscovery()
  const half = calls.length >> 1
  const before = calls.slice(0, half).map((call) => first.observe(call.observation).versionId ?? '')
  const second = openDiscovery(first.snapshot())
  const after = calls.slice(half).map((call) => second.observe(call.observation).versionId ?? '')
  expect([...before, ...after]).toEqual(once.told)
  second.look(calls.at(-1)!.observation.atMs)
  expect(second.drain()).toEqual(once.events)
})

test('replays are not looked at', () => {
  const discovery = openDiscovery()
  for (let i = 0; i < 100; i++)
    expect(discovery.observe(say(prompt('Be brief.'), i, { origin: 'replay' }))).toEqual({})
  expect(discovery.figures()).toMatchObject({ workspaces: 0, families: 0, pooled: 0 })
})

test('one-off prompts make no family, and only so many are held', () => {
  const discovery = openDiscovery()
  for (let i = 0; i < poolMax * 3; i++)
    discovery.observe(say(`${i} quite other words ${i * 7}, ${i ** 2}`, i))
  expect(discovery.figures()).toMatchObject({
    families: 0,
    pooled: poolMax,
    poolDropped: poolMax * 2,
  })
})

test('memory has a bound in bytes: the longest unseen prompts go first, and are found again under their own names', () => {
  const bytesMax = 4 * 1024 * 1024
  const discovery = openDiscovery(undefined, bytesMax)
  const lineOf = (family: number, line: number) =>
    `Rule ${line} of house ${family}: mind the ${(family * 31 + line * 17) % 997} things that matter.`
  const textOf = (family: number, i: number) =>
    [`You are the keeper of house ${'abcdefghijklmnopqrstuvwxyz'[family]}.`]
      .concat(
        Array.from({ length: 60 }, (_, line) => lineOf(family, line)),
        `Guest: ${nameOf(i)}`,
      )
      .join('\n')
  let i = 0
  const play = (family: number) => {
    for (let n = 0; n < 160; n++) discovery.observe(say(textOf(family, n), i++))
  }
  const first = () => discovery.observe(say(textOf(0, 3), i++)).versionId
  play(0)
  const id = first()
  const found = discovery.drain().find((event) => event.type === 'version_stable')
  if (found?.type !== 'version_stable') throw new Error('It has no number.')
  for (let family = 1; family < 26; family++) play(family)
  const { dropped, bytes } = discovery.figures()
  expect(dropped).toBeGreaterThan(0)
  expect(bytes).toBeLessThan(1.2 * bytesMax)
  expect(first()).toBeUndefined()
  const [registry = '', version = ''] = String(id).split('@')
  discovery.reserve('w1', registry, {
    isDeclared: false,
    versions: new Map([[version, found.hashes.content]]),
  })
  play(0)
  expect(first()).toBe(id)
})

test('a flood of new versions pauses itself, is told once, and is resumed by a person', () => {
  const discovery = openDiscovery()
  const rule = (version: number) => `Rule number ${version} is the one that holds from now on.`
  let i = 0
  const play = (version: number) => {
    for (let n = 0; n < 120; n++)
      discovery.observe(say(prompt(rule(version)), i++, { atMs: startMs + i * 10 }))
  }
  for (let version = 1; version <= newVersionsPerHour + 4; version++) play(version)
  const events = discovery.drain()
  expect(events.filter((event) => event.type === 'registry_paused')).toHaveLength(1)
  expect(events.filter((event) => event.type === 'version_stable')).toHaveLength(
    newVersionsPerHour + 1,
  )
  discovery.resume('w1', 'billing-agent-contoso')
  play(99)
  expect(discovery.drain().some((event) => event.type === 'version_stable')).toBe(true)
})

test('a version that callers name is told with its content once its one text was seen three times', () => {
  const discovery = openDiscovery()
  const stable = () => discovery.drain().filter((event) => event.type === 'version_stable')
  const named = (version: string) => ({ slug: 'support', version })
  for (let i = 0; i < 2; i++) discovery.observe(say(prompt('Be brief.'), i, named('v1')))
  expect(stable()).toEqual([])
  discovery.observe(say(prompt('Be brief.'), 2, named('v1')))
  for (let i = 3; i < 6; i++) discovery.observe(say(prompt('Be kind.'), i, named('v2')))
  const [first, second] = stable()
  expect(first).toMatchObject({ registry: 'support', versionId: 'support@v1', runs: 3 })
  expect(second).toMatchObject({ registry: 'support', versionId: 'support@v2', runs: 3 })
  expect(discovery.template('w1', 'support@v1')?.literals).toEqual([prompt('Be brief.')])
  for (let i = 6; i < 40; i++) discovery.observe(say(prompt('Be brief.'), i, named('v1')))
  expect(stable()).toEqual([])
})

test('a number that the registry has given to another content is passed over', () => {
  const discovery = openDiscovery()
  discovery.reserve('w1', 'billing-agent-contoso', {
    isDeclared: false,
    versions: new Map([['v1', 'another content']]),
  })
  for (let i = 0; i < 200; i++) discovery.observe(say(prompt('Be brief.', nameOf(i)), i))
  expect(discovery.observe(say(prompt('Be brief.'), 201)).versionId).toBe(
    'billing-agent-contoso@v2',
  )
  discovery.reserve('w2', 'billing-agent-contoso', { isDeclared: true, versions: new Map() })
  for (let i = 0; i < 200; i++)
    discovery.observe(say(prompt('Be brief.', nameOf(i)), i, { workspace: 'w2' }))
  expect(discovery.observe(say(prompt('Be brief.'), 201, { workspace: 'w2' })).registry).toBe(
    'billing-agent-contoso-2',
  )
})

test('one version name over two contents is a conflict, told once', () => {
  const discovery = openDiscovery()
  const named = { slug: 'support', version: 'v1' }
  for (let i = 0; i < recentMax * 2; i++) {
    const seen = discovery.observe(
      say(prompt(i < recentMax ? 'Be brief.' : 'Never be brief.'), i, named),
    )
    expect(seen.versionId).toBe('support@v1')
  }
  const conflicts = discovery.drain().filter((event) => event.type === 'version_conflict')
  expect(conflicts).toMatchObject([{ registry: 'support', versionId: 'support@v1' }])
})

test('a workspace learns nothing from another', () => {
  const discovery = openDiscovery()
  for (let i = 0; i < 200; i++) discovery.observe(say(prompt('Be brief.'), i))
  expect(discovery.observe(say(prompt('Be brief.'), 201)).versionId).toBe(
    'billing-agent-contoso@v1',
  )
  expect(discovery.observe(say(prompt('Be brief.'), 202, { workspace: 'w2' }))).toEqual({})
})

test('pairs are scored as defined: two of three together, one astray', () => {
  expect(pairScore(['a', 'a', 'a', 'b'], ['1', '1', '2', '2'])).toEqual({
    precision: 1 / 2,
    recall: 1 / 3,
    f1: 0.4,
  })
})
