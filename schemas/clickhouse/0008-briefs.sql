-- What lists and trees show of a trace's spans, packed, so that a trace is one seek however many columns are shown of it. A span that
-- was sent twice stands here twice. The form of a span: src/traces/briefs.ts. Why: schemas/README.md.

CREATE TABLE briefs (
  workspace LowCardinality(String),
  trace_id FixedString(16) CODEC(Default),
  span String CODEC(Default),
  ingest_seq UInt64 CODEC(Delta(8), Default),
  ingested_at DateTime('UTC') CODEC(Delta(4), Default)
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(ingested_at)
ORDER BY (workspace, trace_id)
TTL ingested_at + INTERVAL 30 DAY, ingested_at + INTERVAL 1 DAY RECOMPRESS CODEC(ZSTD(1))
SETTINGS index_granularity = 256, min_compress_block_size = 16384, non_replicated_deduplication_window = 10000, fsync_after_insert = 1,
  fsync_part_directory = 1, min_bytes_for_wide_part = 268435456, merge_with_ttl_timeout = 86400, merge_selector_base = 10;

CREATE MATERIALIZED VIEW briefs_of_spans TO briefs AS
SELECT workspace, trace_id, concat(span_id, parent_span_id, reinterpretAsFixedString(start_time),
    reinterpretAsFixedString(duration_ns), reinterpretAsFixedString(ingest_seq), reinterpretAsFixedString(ttft_ns),
    reinterpretAsFixedString(cost_nano_usd), reinterpretAsFixedString(input_tokens), reinterpretAsFixedString(output_tokens),
    reinterpretAsFixedString(cached_tokens), reinterpretAsFixedString(reasoning_tokens), reinterpretAsFixedString(usage),
    reinterpretAsFixedString(kind), run_id, record_id, name, '\0', type, '\0', service, '\0', status, '\0', environment, '\0', provider,
    '\0', model, '\0', route_id, '\0', route_label, '\0', prompt_version_id, '\0', session_id, '\0', user_id) AS span, ingest_seq, ingested_at
FROM spans;

-- What is there already passes through block by block. Said twice without harm, should a crash repeat it.
INSERT INTO briefs (workspace, trace_id, span, ingest_seq, ingested_at)
SELECT workspace, trace_id, concat(span_id, parent_span_id, reinterpretAsFixedString(start_time),
    reinterpretAsFixedString(duration_ns), reinterpretAsFixedString(ingest_seq), reinterpretAsFixedString(ttft_ns),
    reinterpretAsFixedString(cost_nano_usd), reinterpretAsFixedString(input_tokens), reinterpretAsFixedString(output_tokens),
    reinterpretAsFixedString(cached_tokens), reinterpretAsFixedString(reasoning_tokens), reinterpretAsFixedString(usage),
    reinterpretAsFixedString(kind), run_id, record_id, name, '\0', type, '\0', service, '\0', status, '\0', environment, '\0', provider,
    '\0', model, '\0', route_id, '\0', route_label, '\0', prompt_version_id, '\0', session_id, '\0', user_id) AS span, ingest_seq, ingested_at
FROM spans
SETTINGS max_insert_threads = 1, min_insert_block_size_rows = 300000;
