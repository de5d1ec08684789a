// Envelopes: a ResourceSpans or ScopeSpans message without its children, kept once per content and named by its hash.
// A row is written again after half a day of use, so that its time to live never ends before that of a span that needs it.

import { createHash } from 'node:crypto'
import type { Batch } from '../spool/intake.ts'

const rewriteAfterMs = 12 * 3_600_000
// One entry is about 150 bytes; services times scopes times workspaces seldom pass this.
const rememberedMax = 50_000

/** First 16 bytes of SHA-256 over the kind, `r` or `s`, and the envelope. */
export function envelopeHash(kind: 'r' | 's', envelope: Uint8Array): Buffer {
  return createHash('sha256').update(kind).update(envelope).digest().subarray(0, 16)
}

/** Which envelopes are on disk. One for the whole process: every collector writes through it. */
export class EnvelopeBook {
  /** When each was last written, oldest first. */
  readonly #writtenAtMs = new Map<string, number>()
  readonly #nowMs: () => number

  constructor(nowMs: () => number = Date.now) {
    this.#nowMs = nowMs
  }

  /** The envelopes of one write. Use a new one for each. */
  open(workspace: string): EnvelopeNotes {
    return new EnvelopeNotes(this, workspace)
  }

  has(key: string): boolean {
    const writtenAtMs = this.#writtenAtMs.get(key)
    return writtenAtMs !== undefined && this.#nowMs() - writtenAtMs < rewriteAfterMs
  }

  remember(keys: Iterable<string>): void {
    for (const key of keys) {
      this.#writtenAtMs.delete(key)
      this.#writtenAtMs.set(key, this.#nowMs())
    }
    for (const key of this.#writtenAtMs.keys()) {
      if (this.#writtenAtMs.size <= rememberedMax) break
      this.#writtenAtMs.delete(key)
    }
  }
}

/** Rows of `envelopes` for one write. Call `keep` once the write is durable, and only then: a failed one teaches nothing. */
export class EnvelopeNotes {
  readonly #book: EnvelopeBook
  readonly #workspace: string
  readonly #written = new Set<string>()

  constructor(book: EnvelopeBook, workspace: string) {
    this.#book = book
    this.#workspace = workspace
  }

  /** Pushes the row unless it is on disk or already in this write. Returns the hash that spans refer to. */
  write(batch: Pick<Batch, 'envelopes'>, kind: 'r' | 's', envelope: Buffer): Buffer {
    return this.writeHashed(batch, envelope, envelopeHash(kind, envelope))
  }

  /** The same for an envelope whose hash is known: one that is used again and again. */
  writeHashed(batch: Pick<Batch, 'envelopes'>, envelope: Buffer, hash: Buffer): Buffer {
    const key = `${this.#workspace} ${hash.toString('latin1')}`
    if (this.#written.has(key) || this.#book.has(key)) return hash
    this.#written.add(key)
    const to = batch.envelopes.columns
    to.workspace.pushText(this.#workspace)
    to.hash.pushBytes(hash)
    to.raw.pushBytes(envelope, 0, envelope.length)
    batch.envelopes.endRow()
    return hash
  }

  keep(): void {
    this.#book.remember(this.#written)
  }
}
