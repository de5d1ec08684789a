// Which envelopes are already on disk, so that each is written once in a while and not once a span.
// Remembered only after the write that carried them is durable: a span never relies on an envelope that was lost.

// Shorter than the day within which a used envelope must be written again (schemas/clickhouse, table envelopes).
const rememberedMs = 12 * 60 * 60 * 1000
const envelopesMax = 50_000

export type RememberedEnvelopes = {
  /** True when this envelope was written within the last twelve hours. */
  has(workspace: string, hash: string): boolean
  /** To be called when the write is durable. */
  add(workspace: string, hashes: readonly string[]): void
}

/** The memory of one process; the oldest is forgotten first. Two writes at once may write an envelope twice. */
export function rememberEnvelopes(nowMs: () => number): RememberedEnvelopes {
  const writtenAt = new Map<string, number>()
  return {
    has(workspace, hash) {
      const at = writtenAt.get(`${workspace} ${hash}`)
      return at !== undefined && nowMs() - at < rememberedMs
    },
    add(workspace, hashes) {
      for (const hash of hashes) {
        const key = `${workspace} ${hash}`
        writtenAt.delete(key)
        writtenAt.set(key, nowMs())
      }
      for (const key of writtenAt.keys()) {
        if (writtenAt.size <= envelopesMax) break
        writtenAt.delete(key)
      }
    },
  }
}
