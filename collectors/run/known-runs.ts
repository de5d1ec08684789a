// Runs that are posted under an id we gave out: what the proxy has stored already is answered, and not stored again.

import { type Id, parsePrefixed, toHex } from '../../schemas/ids.ts'

/** A run that is stored, whoever reported it. */
export type KnownRun = { traceId: string; recordId: string }

/** One entry of the answer's `runs`. */
export type Answered = { index: number; run_id: string; trace_id: string; record_id: string }

/** Those of the items that bear an id we gave out and that are stored already, by that id as it was written. */
export async function knownRuns(
  items: unknown[],
  findRuns: (ids: Id[]) => Promise<Map<string, KnownRun>>,
): Promise<Map<string, KnownRun>> {
  const ids = new Map<string, Id>()
  for (const item of items) {
    const name = runIdOf(item)
    const id = name === undefined ? undefined : parsePrefixed('run', name)
    if (name !== undefined && id) ids.set(name, id)
  }
  if (ids.size === 0) return new Map()
  const found = await findRuns([...ids.values()])
  const named = [...ids].map(([name, id]) => [name, found.get(toHex(id))] as const)
  return new Map(named.flatMap(([name, run]) => (run ? [[name, run] as const] : [])))
}

export function runIdOf(item: unknown): string | undefined {
  if (typeof item !== 'object' || item === null || !('run_id' in item)) return undefined
  return typeof item.run_id === 'string' ? item.run_id : undefined
}

/** The answer to an item whose run is known; nothing for any other. */
export function toAgain(run: KnownRun | undefined, item: unknown, index: number): Answered[] {
  if (!run) return []
  return [{ index, run_id: runIdOf(item) ?? '', trace_id: run.traceId, record_id: run.recordId }]
}
