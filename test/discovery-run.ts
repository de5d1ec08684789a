// Generated traffic through discovery, as the gateway would send it, and what came of it in the end.

import { openDiscovery } from '../replay/discovery/discovery.ts'
import type { DiscoveryEvent } from '../schemas/discovery.ts'
import { type Call, pairScore } from './traffic.ts'

export type Outcome = {
  events: DiscoveryEvent[]
  /** The id of each call when its headers left, '' while unknown. */
  told: string[]
  /** The id of each call after late assignments and merges, '' for none. */
  settled: string[]
  versionF1: number
  precision: number
  recall: number
  familyF1: number
  microseconds: number
}

/** Every call observed in order, every event applied as a writer would. */
export function discover(calls: readonly Call[], discovery = openDiscovery()): Outcome {
  const events: DiscoveryEvent[] = []
  const told: string[] = []
  const registries: string[] = []
  const started = performance.now()
  for (const call of calls) {
    const sighting = discovery.observe(call.observation)
    told.push(sighting.versionId ?? '')
    registries.push(sighting.registry ?? '')
    if (told.length % 100 === 0) events.push(...discovery.drain())
  }
  discovery.look(calls.at(-1)!.observation.atMs)
  const microseconds = ((performance.now() - started) * 1000) / calls.length
  events.push(...discovery.drain())
  const settled = settle(calls, told, events)
  const alone = (id: string, i: number) => id || `alone-${i}`
  const score = pairScore(
    calls.map((call) => call.version),
    settled.map(alone),
  )
  const familyF1 = pairScore(
    calls.map((call) => call.family),
    settled.map((id, i) => id.split('@')[0] || registries[i] || `alone-${i}`),
  ).f1
  return {
    events,
    told,
    settled,
    versionF1: score.f1,
    precision: score.precision,
    recall: score.recall,
    familyF1,
    microseconds,
  }
}

function settle(calls: readonly Call[], told: string[], events: DiscoveryEvent[]): string[] {
  const byRef = new Map(calls.map((call, i) => [call.observation.ref, told[i]!]))
  const into = new Map<string, string>()
  for (const event of events) {
    if (event.type === 'assigned') for (const ref of event.refs) byRef.set(ref, event.versionId)
    if (event.type === 'version_merged') into.set(event.from, event.into)
  }
  return calls.map((call) => {
    let id = byRef.get(call.observation.ref) ?? ''
    for (let step = into.get(id); step !== undefined; step = into.get(id)) id = step
    return id
  })
}
