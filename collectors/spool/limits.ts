// Every bound of the spool in one place, and what each trades.

const mebi = 1 << 20

export const spoolLimits = {
  /** A larger segment is synced into directories less often; a smaller one is given back sooner after draining. */
  segmentBytes: 64 * mebi,
  /** Zeros are written in slices of this: larger ones compete longer with a commit for the disk. */
  sliceBytes: 4 * mebi,
  /** Zeros kept ahead of the write position, so that a commit rarely waits for them. */
  aheadBytes: 16 * mebi,
  /** A batch is sealed early at this size: larger ones sync less often, and hold every waiter longer. */
  batchBytes: 8 * mebi,
  /** One write may not be larger; it must fit a record that is read back whole. */
  writeBytesMax: 256 * mebi,
  /** Bytes accepted but not synced. Above: refused. */
  pendingBytes: 64 * mebi,
  /** Bytes not yet in ClickHouse: how long an outage is ridden out. Above: refused. */
  spoolBytes: 4096 * mebi,
  /** From this share of `spoolBytes` on, workspaces that hold more than an equal part of it are refused. */
  shedShare: 0.85,
  /** Free disk below the larger of the two: refused, so that the databases beside the spool keep room to work. */
  freeBytesMin: 1024 * mebi,
  freeShareMin: 0.02,
  spaceEveryMs: 1_000,
  /** After the second failure in a row the disk is left alone for this long, doubling. */
  restFirstMs: 100,
  restLastMs: 1_000,
  /** Drained segments are kept this long as a second net, and up to this many bytes. */
  retainMs: 15 * 60_000,
  retainedBytes: 1024 * mebi,
  /** Set aside for good. When full the drain waits rather than lose anything. */
  quarantineBytes: 1024 * mebi,
  /** Synced bytes kept in memory so that the drain does not read them back: a full batch on its way and the next one gathering. */
  heldBytes: 256 * mebi,
  /** How long the note of a call that begins may wait for a commit to share. */
  openingDelayMs: 5,
  /** Calls whose end is not durable yet; they are held in memory and noted again as the drain passes. Above: not noted, counted. */
  openCallsMax: 20_000,
  /** One drained batch: larger ones leave ClickHouse fewer parts to merge, and hold more memory in both. */
  drainRows: 100_000,
  drainBytes: 128 * mebi,
  /**
   * How long rows gather before they are inserted; a reader's flush does not wait for it. A round of inserts costs ClickHouse about
   * 100 ms of CPU however few its rows: at 1 s and 850 calls/s that was half of what it used for a call. Longer holds more in memory.
   */
  drainEveryMs: 2_000,
  /** Bytes read from disk at a time. */
  windowBytes: 4 * mebi,
  insertDeadlineMs: 60_000,
  backoffFirstMs: 100,
  backoffLastMs: 5_000,
}

/**
 * The lane of calls, where it differs: room of its own, and free disk that bulk leaves it. It holds 100,000 calls of 8 KiB; a disk
 * that others have filled stops bulk first.
 */
export const callLimits = {
  spoolBytes: 1024 * mebi,
  freeBytesMin: 256 * mebi,
  freeShareMin: 0,
  // Two seconds of 4,000 calls/s, and as much again on its way; what does not fit is read back from the disk.
  heldBytes: 96 * mebi,
  retainedBytes: 256 * mebi,
}

export type SpoolLimits = typeof spoolLimits

/** What happened, for the log: a sentence and its facts. Never a row's content. */
export type SpoolLog = (
  level: 'info' | 'warn' | 'error',
  message: string,
  facts: Record<string, unknown>,
) => void

export function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
