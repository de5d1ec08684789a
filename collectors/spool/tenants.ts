// Whose bytes the spool holds, so that one workspace cannot take the room of all when ClickHouse is away for long.
// Law: while there is plenty of room nobody is refused; with little left, those with more than their share are, and nobody else.

import type { Chunk, Position } from './chunk.ts'
import type { SpoolLimits } from './limits.ts'

/** Bytes by workspace, to the grain of a segment: one gives back its bytes when the drain has left it behind. */
export class Tenants {
  readonly #limits: SpoolLimits
  readonly #bySegment = new Map<number, Map<string, number>>()
  readonly #totals = new Map<string, number>()

  constructor(limits: SpoolLimits) {
    this.#limits = limits
  }

  /** The bytes of a chunk, parted among those who wrote into it by how much each did. */
  add({ at: { segment }, bytes }: Chunk, owners: ReadonlyMap<string, number>): void {
    let written = 0
    for (const part of owners.values()) written += part
    if (written === 0) return
    const held = this.#bySegment.get(segment) ?? new Map<string, number>()
    this.#bySegment.set(segment, held)
    for (const [workspace, part] of owners) {
      const more = Math.ceil((part * bytes) / written)
      held.set(workspace, (held.get(workspace) ?? 0) + more)
      this.#totals.set(workspace, (this.#totals.get(workspace) ?? 0) + more)
    }
  }

  /** What is before the cursor is in ClickHouse; at the tail nothing is left. */
  advance(cursor: Position, isAtTail: boolean): void {
    for (const [segment, held] of this.#bySegment) {
      if (segment >= cursor.segment && !isAtTail) continue
      this.#bySegment.delete(segment)
      for (const [workspace, bytes] of held) {
        const left = (this.#totals.get(workspace) ?? 0) - bytes
        if (left > 0) this.#totals.set(workspace, left)
        else this.#totals.delete(workspace)
      }
    }
  }

  /** True when the spool is nearly full and this workspace holds more than an equal part; one part is kept for whoever comes new. */
  hasTooMuch(workspace: string, undrainedBytes: number): boolean {
    const { spoolBytes, shedShare } = this.#limits
    if (undrainedBytes < spoolBytes * shedShare) return false
    const share = spoolBytes / (this.#totals.size + 1)
    return (this.#totals.get(workspace) ?? 0) > share
  }
}
