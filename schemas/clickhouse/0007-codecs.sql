-- Parts are written and merged with the server's default codec (LZ4), and once they are a day old, when few merges are left to
-- come, written anew with ZSTD. What that saves: schemas/README.md. The lines on age are repeated by src/erasing/retention.ts.

ALTER TABLE spans
  MODIFY COLUMN trace_id FixedString(16) CODEC(Default),
  MODIFY COLUMN span_id FixedString(8) CODEC(Default),
  MODIFY COLUMN parent_span_id FixedString(8) CODEC(Default),
  MODIFY COLUMN start_time DateTime64(9, 'UTC') CODEC(Delta(8), Default),
  MODIFY COLUMN duration_ns UInt64 CODEC(T64, Default),
  MODIFY COLUMN kind UInt8 CODEC(Default),
  MODIFY COLUMN status_message String CODEC(Default),
  MODIFY COLUMN session_id String CODEC(Default),
  MODIFY COLUMN user_id String CODEC(Default),
  MODIFY COLUMN run_id FixedString(16) CODEC(Default),
  MODIFY COLUMN record_id FixedString(16) CODEC(Default),
  MODIFY COLUMN usage UInt8 CODEC(Default),
  MODIFY COLUMN input_tokens UInt32 CODEC(T64, Default),
  MODIFY COLUMN output_tokens UInt32 CODEC(T64, Default),
  MODIFY COLUMN cached_tokens UInt32 CODEC(T64, Default),
  MODIFY COLUMN reasoning_tokens UInt32 CODEC(T64, Default),
  MODIFY COLUMN cost_nano_usd Int64 CODEC(T64, Default),
  MODIFY COLUMN ttft_ns UInt64 CODEC(T64, Default),
  MODIFY COLUMN attr_str Map(LowCardinality(String), String) CODEC(Default),
  MODIFY COLUMN attr_num Map(LowCardinality(String), Float64) CODEC(Default),
  MODIFY COLUMN input_preview String CODEC(Default),
  MODIFY COLUMN output_preview String CODEC(Default),
  MODIFY COLUMN ingest_seq UInt64 CODEC(Delta(8), Default),
  MODIFY COLUMN ingested_at DateTime('UTC') CODEC(Delta(4), Default);

ALTER TABLE payloads
  MODIFY COLUMN trace_id FixedString(16) CODEC(Default),
  MODIFY COLUMN span_id FixedString(8) CODEC(Default),
  MODIFY COLUMN resource_hash FixedString(16) CODEC(Default),
  MODIFY COLUMN scope_hash FixedString(16) CODEC(Default),
  MODIFY COLUMN raw String CODEC(Default),
  MODIFY COLUMN ingest_seq UInt64 CODEC(Delta(8), Default),
  MODIFY COLUMN ingested_at DateTime('UTC') CODEC(Delta(4), Default);
ALTER TABLE spans
  MODIFY TTL ingested_at + INTERVAL 30 DAY, ingested_at + INTERVAL 1 DAY RECOMPRESS CODEC(ZSTD(1))
  SETTINGS materialize_ttl_after_modify = 0;

ALTER TABLE payloads
  MODIFY TTL ingested_at + INTERVAL 30 DAY, ingested_at + INTERVAL 1 DAY RECOMPRESS CODEC(ZSTD(1))
  SETTINGS materialize_ttl_after_modify = 0;

-- A row is merged as often as parts of this many sizes follow each other: at 5 a million rows cost 4.0 s of merging, at 10 2.5 s.
ALTER TABLE spans MODIFY SETTING merge_selector_base = 10;

ALTER TABLE payloads MODIFY SETTING merge_selector_base = 10;
