// Limits a minute: a bucket each, shared by all processes through Postgres. A process leases a few seconds' worth at a time, so
// that a busy key asks once in a while and a slow one each time. Postgres away: each process keeps the limit by itself.

import type { Counters } from '../../schemas/counters.ts'
import { Fault } from '../../schemas/faults.ts'
import type { Sql } from '../stores/postgres.ts'
import type { Pot } from './pot.ts'

// What is leased beyond what is wanted now, as seconds of the limit; and how long it may lie before it is let go.
const spareS = 2
const leasedMs = 5_000
const bucketsMax = 20_000
const minuteS = 60
// A bucket that nobody touched for so long is full again.
const forgottenMs = 120_000

export type RateKind = 'requests' | 'tokens'

export type Rates = {
  /** The bucket of this name. Another limit under the same name holds from then on. */
  bucket(name: string, kind: RateKind, perMinute: number): Bucket
}

type Lease = { granted: number; level: number }
type Want = { bucket: Bucket; amount: number }

export class Bucket implements Pot {
  readonly name: string
  readonly kind: RateKind
  perMinute: number
  free = 0n
  usedTick = 0
  isStored = false
  readonly #deps: { tickMs: () => number; lease: (bucket: Bucket, amount: number) => Promise<void> }
  #freeUntil = 0
  /** What was left for all when the store was asked last. */
  #level: number
  #levelTick: number

  constructor(
    of: { name: string; kind: RateKind; perMinute: number },
    deps: { tickMs: () => number; lease: (bucket: Bucket, amount: number) => Promise<void> },
  ) {
    this.name = of.name
    this.kind = of.kind
    this.perMinute = of.perMinute
    this.#deps = deps
    this.#level = of.perMinute
    this.#levelTick = deps.tickMs()
  }

  /** What a call of this size needs: one larger than the whole bucket needs the whole bucket. */
  needOf(amount: number): bigint {
    return BigInt(Math.min(Math.ceil(amount), this.perMinute))
  }

  /** Leased capacity that has lain too long is let go: the bucket has filled up again without it. */
  refresh(): void {
    const now = this.#deps.tickMs()
    // Its row may have been swept.
    if (now - this.usedTick > forgottenMs) this.isStored = false
    this.usedTick = now
    if (this.free > 0n && now > this.#freeUntil) this.free = 0n
  }

  take(amount: bigint): void {
    this.free -= amount
  }

  /** What a call did not use. */
  giveBack(amount: bigint): void {
    this.free += amount
    this.#freeUntil = this.#deps.tickMs() + leasedMs
  }

  refill(amount: bigint): Promise<void> {
    // The bucket cannot have more than this by now, whoever else takes from it.
    if (!this.mayHave(amount)) return Promise.resolve()
    return this.#deps.lease(this, Number(amount))
  }

  mayHave(amount: bigint): boolean {
    return Number(amount - this.free) <= this.#levelNow()
  }

  leased({ granted, level }: Lease): void {
    this.free += BigInt(granted)
    this.#freeUntil = this.#deps.tickMs() + leasedMs
    this.#level = level
    this.#levelTick = this.#deps.tickMs()
  }

  refusal(amount: bigint): Fault {
    const waitS = this.#secondsUntil(Number(amount - this.free))
    return new Fault('rate_limited', {
      message: `The limit of ${this.perMinute} ${this.kind} a minute is reached.`,
      retryAfterS: Math.max(1, Math.ceil(waitS)),
      headers: Object.fromEntries(pairsOf(this.headers())),
    })
  }

  /** As far as is known here. */
  remaining(): number {
    const left = Math.floor(Number(this.free) + this.#levelNow())
    return Math.min(Math.max(left, 0), this.perMinute)
  }

  /** `x-ratelimit-*` in OpenAI's names, as pairs. */
  headers(): string[] {
    const reset = this.#secondsUntil(this.perMinute)
    return [
      `x-ratelimit-limit-${this.kind}`,
      String(this.perMinute),
      `x-ratelimit-remaining-${this.kind}`,
      String(this.remaining()),
      `x-ratelimit-reset-${this.kind}`,
      toDuration(reset),
    ]
  }

  #levelNow(): number {
    const filled = ((this.#deps.tickMs() - this.#levelTick) / 1000) * (this.perMinute / minuteS)
    return Math.min(this.perMinute, this.#level + filled)
  }

  #secondsUntil(level: number): number {
    return Math.max(0, level - this.#levelNow()) / (this.perMinute / minuteS)
  }
}

export function openRates(deps: { sql: Sql; counters: Counters; tickMs?: () => number }): Rates {
  const tickMs = deps.tickMs ?? (() => performance.now())
  const buckets = new Map<string, Bucket>()
  const alone = new Map<string, { level: number; tick: number }>()
  let gathering: { wants: Map<Bucket, number>; done: Promise<void> } | undefined

  /** All that is wanted in one turn of the event loop is one statement. */
  function lease(bucket: Bucket, amount: number): Promise<void> {
    if (!gathering) {
      const wants = new Map<Bucket, number>()
      const done = new Promise<void>((resolve) => setImmediate(resolve)).then(() => {
        gathering = undefined
        return leaseAll([...wants].map(([bucket, amount]) => ({ bucket, amount })))
      })
      gathering = { wants, done }
    }
    gathering.wants.set(bucket, (gathering.wants.get(bucket) ?? 0) + amount)
    return gathering.done
  }

  async function leaseAll(wants: readonly Want[]): Promise<void> {
    const asked = wants.map(({ bucket, amount }) => {
      const spare = Math.floor((bucket.perMinute / minuteS) * spareS)
      return { bucket, amount: Math.max(0, amount - Number(bucket.free)) + spare }
    })
    const leases = await leaseFrom(deps.sql, asked).catch(() => {
      deps.counters.count('rate_limits_alone_total', {})
      return asked.map((want) => leaseAlone(want))
    })
    for (const [at, { bucket }] of asked.entries()) bucket.leased(leases[at]!)
  }

  function leaseAlone({ bucket, amount }: Want): Lease {
    const now = tickMs()
    const before = alone.get(bucket.name) ?? { level: bucket.perMinute, tick: now }
    const filled = ((now - before.tick) / 1000) * (bucket.perMinute / minuteS)
    const full = Math.min(bucket.perMinute, before.level + filled)
    const granted = Math.floor(Math.min(amount, full))
    if (alone.size >= bucketsMax) alone.clear()
    alone.set(bucket.name, { level: full - granted, tick: now })
    return { granted, level: full - granted }
  }

  function forget(): void {
    for (const [name, bucket] of buckets) {
      if (tickMs() - bucket.usedTick > forgottenMs) buckets.delete(name)
    }
    const oldest = buckets.size >= bucketsMax ? buckets.keys().next().value : undefined
    if (oldest !== undefined) buckets.delete(oldest)
  }

  return {
    bucket(name, kind, perMinute) {
      const known = buckets.get(name)
      if (known) {
        known.perMinute = perMinute
        known.refresh()
        return known
      }
      if (buckets.size >= bucketsMax) forget()
      const made = new Bucket({ name, kind, perMinute }, { tickMs, lease })
      made.refresh()
      buckets.set(name, made)
      return made
    },
  }
}

/** In the order of what is wanted; each gets what there is, at most what it wants. */
async function leaseFrom(sql: Sql, wants: readonly Want[]): Promise<Lease[]> {
  const fresh = wants.filter(({ bucket }) => !bucket.isStored)
  if (fresh.length > 0) {
    await sql.query(
      `INSERT INTO rate_buckets (bucket, level, at)
       SELECT bucket, per_minute, clock_timestamp() FROM unnest($1::text[], $2::float8[]) AS w (bucket, per_minute)
       ON CONFLICT DO NOTHING`,
      [fresh.map(({ bucket }) => bucket.name), fresh.map(({ bucket }) => bucket.perMinute)],
    )
    for (const { bucket } of fresh) bucket.isStored = true
  }
  const rows = await sql.query<Lease & { bucket: string }>(
    `WITH filled AS (
       SELECT b.bucket, w.amount,
         least(w.per_minute, b.level + greatest(0, extract(epoch FROM clock_timestamp() - b.at)) * w.per_minute / ${minuteS}) AS level
       FROM rate_buckets b JOIN unnest($1::text[], $2::float8[], $3::float8[]) AS w (bucket, per_minute, amount) USING (bucket)
       ORDER BY b.bucket FOR UPDATE OF b
     ), given AS (
       SELECT bucket, level, floor(least(amount, level)) AS granted FROM filled
     )
     UPDATE rate_buckets b SET level = g.level - g.granted, at = clock_timestamp()
     FROM given g WHERE b.bucket = g.bucket RETURNING b.bucket, g.granted, b.level`,
    [
      wants.map(({ bucket }) => bucket.name),
      wants.map(({ bucket }) => bucket.perMinute),
      wants.map(({ amount }) => amount),
    ],
  )
  const byName = new Map(rows.map((row) => [row.bucket, row]))
  return wants.map(({ bucket }) => {
    const row = byName.get(bucket.name)
    bucket.isStored = row !== undefined
    return row ?? { granted: 0, level: 0 }
  })
}

function pairsOf(flat: readonly string[]): [string, string][] {
  const pairs: [string, string][] = []
  for (let at = 0; at < flat.length; at += 2) pairs.push([flat[at]!, flat[at + 1]!])
  return pairs
}

/** As OpenAI writes it: `12ms`, `1.5s`, `2m30s`. */
function toDuration(seconds: number): string {
  if (seconds < 1) return `${Math.ceil(seconds * 1000)}ms`
  const tenths = Math.ceil(seconds * 10) / 10
  if (tenths < minuteS) return `${tenths}s`
  return `${Math.floor(tenths / minuteS)}m${Math.ceil(tenths % minuteS)}s`
}
