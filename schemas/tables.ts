// The columns of the append-only tables as they travel: Native blocks, matched by name. The SQL beside this file is the
// stored form; a test holds the two together. `LowCardinality(String)` columns of small blocks travel as plain String.

export type WireType =
  | 'String'
  | 'LowCardinality(String)'
  | 'FixedString(8)'
  | 'FixedString(16)'
  | 'FixedString(64)'
  | 'UInt8'
  | 'UInt32'
  | 'UInt64'
  | 'Int64'
  | 'DateTime'
  | "DateTime64(9, 'UTC')"
  | 'Map(LowCardinality(String), String)'
  | 'Map(LowCardinality(String), Float64)'

/** Grows by one whenever a column here changes; a spool written by an older form is drained before the tables migrate. */
export const wireVersion = 2

// `ingest_seq` and `ingested_at` are filled when a block is sealed, never by the one who writes the row.
export const tables = {
  spans: {
    workspace: 'LowCardinality(String)',
    trace_id: 'FixedString(16)',
    span_id: 'FixedString(8)',
    parent_span_id: 'FixedString(8)',
    start_time: "DateTime64(9, 'UTC')",
    duration_ns: 'UInt64',
    name: 'LowCardinality(String)',
    service: 'LowCardinality(String)',
    type: 'LowCardinality(String)',
    kind: 'UInt8',
    status: 'LowCardinality(String)',
    status_message: 'String',
    source: 'LowCardinality(String)',
    origin: 'LowCardinality(String)',
    environment: 'LowCardinality(String)',
    provider: 'LowCardinality(String)',
    model: 'LowCardinality(String)',
    route_id: 'LowCardinality(String)',
    route_label: 'LowCardinality(String)',
    prompt_registry: 'LowCardinality(String)',
    prompt_version_id: 'LowCardinality(String)',
    session_id: 'String',
    user_id: 'String',
    run_id: 'FixedString(16)',
    record_id: 'FixedString(16)',
    usage: 'UInt8',
    input_tokens: 'UInt32',
    output_tokens: 'UInt32',
    cached_tokens: 'UInt32',
    reasoning_tokens: 'UInt32',
    cost_nano_usd: 'Int64',
    ttft_ns: 'UInt64',
    attr_str: 'Map(LowCardinality(String), String)',
    attr_num: 'Map(LowCardinality(String), Float64)',
    input_preview: 'String',
    output_preview: 'String',
    ingest_seq: 'UInt64',
    ingested_at: 'DateTime',
  },
  // One row a span, in the same order: the Span message as it came, and the hashes of its two envelopes.
  payloads: {
    workspace: 'LowCardinality(String)',
    trace_id: 'FixedString(16)',
    span_id: 'FixedString(8)',
    resource_hash: 'FixedString(16)',
    scope_hash: 'FixedString(16)',
    raw: 'String',
    ingest_seq: 'UInt64',
    ingested_at: 'DateTime',
  },
  // A ResourceSpans or ScopeSpans message without its children, once per content.
  envelopes: {
    workspace: 'LowCardinality(String)',
    hash: 'FixedString(16)',
    raw: 'String',
    ingest_seq: 'UInt64',
    ingested_at: 'DateTime',
  },
  records: {
    record_id: 'FixedString(16)',
    phase: 'LowCardinality(String)',
    workspace: 'LowCardinality(String)',
    run_id: 'FixedString(16)',
    trace_id: 'FixedString(16)',
    canonical: 'String',
    signature: 'FixedString(64)',
    key_id: 'LowCardinality(String)',
    /** What evidence shows beside the payload and the signature does not cover, as JSON. */
    context: 'String',
    ingest_seq: 'UInt64',
    ingested_at: 'DateTime',
  },
} as const satisfies Record<string, Record<string, WireType>>

export type TableName = keyof typeof tables
export type Columns<T extends TableName> = (typeof tables)[T]

/** Bits of `spans.usage`: which of the counters beside it were reported at all, and whether they are estimates. */
export const usageBits = { tokens: 1, cost: 2, estimated: 4 } as const
