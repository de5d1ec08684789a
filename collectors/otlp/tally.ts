// What one request was like: how many spans came, which were rejected and why, which deviations were tolerated.

/** Why a span is rejected. A closed set: these become labels. */
export type Rejection =
  | 'invalid_trace_id'
  | 'invalid_span_id'
  | 'invalid_parent_span_id'
  | 'invalid_time'
  | 'invalid_enum'
  | 'invalid_value'
  | 'nonconformant'

/** What OTLP forbids, or leaves to the sender, and we take nevertheless. */
export type Deviation =
  | 'byte_order_mark'
  | 'snake_case'
  | 'duplicate_key'
  | 'enum_name'
  | 'enum_string'
  | 'number_for_string'
  | 'string_for_bool'
  | 'fixed64_object'
  | 'bad_base64'
  | 'invalid_utf8'
  | 'string_index'
  | 'legacy_field'

/** A span that cannot be taken. Thrown where it is found, caught where spans are counted: its neighbours are stored. */
export class BadSpan extends Error {
  readonly reason: Rejection

  constructor(reason: Rejection, what: string) {
    super(what)
    this.name = 'BadSpan'
    this.reason = reason
  }
}

/** Contract section 4. */
export const spansMax = 100_000

// The specification bounds answers: an answer is bounded; the counts matter, one example is enough.
const messageLengthMax = 1000

export class Tally {
  /** Spans seen, accepted and rejected alike. */
  spans = 0
  rejected = 0
  readonly rejections = new Map<Rejection, number>()
  readonly deviations = new Map<Deviation, number>()
  readonly strict: boolean
  #example: string | undefined

  constructor(strict: boolean) {
    this.strict = strict
  }

  reject(bad: BadSpan): void {
    this.rejected += 1
    this.rejections.set(bad.reason, (this.rejections.get(bad.reason) ?? 0) + 1)
    this.#example ??= bad.message
  }

  /** Counts a tolerated deviation; when the caller asked for strictness, throws it as the span's fault. */
  deviate(kind: Deviation, times = 1): void {
    if (this.strict) throw new BadSpan('nonconformant', `${kind.replaceAll('_', ' ')} is not OTLP`)
    this.deviations.set(kind, (this.deviations.get(kind) ?? 0) + times)
  }

  /** The English sentence of a partial success; empty when there is nothing to say. */
  message(): string {
    const parts: string[] = []
    if (this.rejected > 0)
      parts.push(
        `${this.rejected} of ${this.spans} spans rejected (${list(this.rejections)}); first: ${this.#example}`,
      )
    if (this.deviations.size > 0)
      parts.push(`accepted, but not valid OTLP: ${list(this.deviations)}`)
    return parts.join('. ').slice(0, messageLengthMax)
  }
}

function list(counts: ReadonlyMap<string, number>): string {
  return [...counts].map(([name, times]) => `${name} ${times}`).join(', ')
}
