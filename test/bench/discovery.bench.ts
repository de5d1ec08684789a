// How well versions are found in generated traffic, beside an exact hash and Drain, and what a call costs.

import { openDiscovery } from '../../replay/discovery/discovery.ts'
import { extract, render } from '../../replay/discovery/template.ts'
import { discover, type Outcome } from '../discovery-run.ts'
import { drainIds, exactIds } from '../drain.ts'
import { type Call, type Mix, makeTraffic, pairScore } from '../traffic.ts'

export type Figure = { name: string; figure: number; unit: string; reference?: string }

export const method =
  'Version pair-F1 over all calls after late assignments and merges: 12 families × 3 versions × 150 requests, `--seeds=10` seeds, ' +
  'in the order of time, one pass. Mixes: see test/traffic.ts. One thread.'

export async function run(options: string[] = []): Promise<Figure[]> {
  const given = options.find((option) => option.startsWith('--seeds='))
  const seeds = Number(given?.slice('--seeds='.length) ?? 10)
  const figures: Figure[] = []
  for (const mix of ['easy', 'medium', 'hard', 'rollout'] as const)
    figures.push(...measure(mix, seeds))
  for (const headers of ['version', 'slug'] as const)
    figures.push(...measure('hard', seeds, headers))
  figures.push(...repeats())
  return figures
}

function measure(mix: Mix, seeds: number, headers?: 'version' | 'slug'): Figure[] {
  const name = headers
    ? `${mix}, header with ${headers === 'slug' ? 'the slug' : 'slug and version'}`
    : mix
  const ours: Outcome[] = []
  const [exact, drain, rates, toldRight]: number[][] = [[], [], [], []]
  for (let seed = 1; seed <= seeds; seed++) {
    const calls = makeTraffic({ seed, mix, ...(headers ? { headers } : {}) })
    const discovery = openDiscovery()
    const outcome = discover(calls, discovery)
    ours.push(outcome)
    const truth = calls.map((call) => call.version)
    exact!.push(pairScore(truth, exactIds(calls.map(textOf))).f1)
    drain!.push(pairScore(truth, drainIds(calls.map(textOf))).f1)
    rates!.push(roundTrip(calls, outcome, discovery))
    toldRight!.push(outcome.told.filter((id) => id !== '').length / calls.length)
  }
  const scores = ours.map((outcome) => outcome.versionF1)
  const baselines = `exact hash ${mean(exact!)}, Drain ${mean(drain!)}`
  return [
    { name: `${name}: version F1, mean`, figure: mean(scores), unit: '', reference: baselines },
    { name: `${name}: version F1, least`, figure: round(Math.min(...scores)), unit: '' },
    { name: `${name}: family F1, mean`, figure: mean(ours.map((one) => one.familyF1)), unit: '' },
    { name: `${name}: known when headers leave`, figure: mean(toldRight!), unit: 'of calls' },
    { name: `${name}: given back byte for byte`, figure: mean(rates!), unit: 'of assigned calls' },
    {
      name: `${name}: a call`,
      figure: Math.round(median(ours.map((one) => one.microseconds))),
      unit: 'µs',
    },
  ]
}

function roundTrip(
  calls: Call[],
  outcome: Outcome,
  discovery: ReturnType<typeof openDiscovery>,
): number {
  const templates = new Map<string, ReturnType<typeof discovery.template>>()
  let [assigned, equal] = [0, 0]
  calls.forEach((call, i) => {
    const id = outcome.settled[i]!
    if (id === '') return
    if (!templates.has(id)) templates.set(id, discovery.template('w1', id))
    const template = templates.get(id)
    const values = template && extract(template, textOf(call))
    assigned++
    if (template && values && render(template, values) === textOf(call)) equal++
  })
  return assigned === 0 ? 0 : equal / assigned
}

// The same prompt again and again, and what a workspace that has seen a day of traffic holds.
function repeats(): Figure[] {
  const discovery = openDiscovery()
  const calls = makeTraffic({ seed: 1, mix: 'hard' })
  const last = calls.at(-1)!.observation
  for (const call of calls) discovery.observe(call.observation)
  const bytes = discovery.snapshot().length
  const times = 20_000
  const started = performance.now()
  for (let i = 0; i < times; i++) {
    discovery.observe(last)
    if (i % 1_000 === 0) discovery.drain()
  }
  const microseconds = ((performance.now() - started) * 1_000) / times
  return [
    { name: 'an exact repeat', figure: Math.round(microseconds), unit: 'µs' },
    {
      name: 'state after the hard mix, as a snapshot',
      figure: round(bytes / 2 ** 20),
      unit: 'MiB',
    },
  ]
}

function textOf(call: Call): string {
  return String(call.observation.messages[0]?.content)
}

function mean(values: number[]): number {
  return round(values.reduce((sum, value) => sum + value, 0) / values.length)
}

function median(values: number[]): number {
  return [...values].sort((a, b) => a - b)[values.length >> 1]!
}

function round(value: number): number {
  return Math.round(value * 10_000) / 10_000
}
