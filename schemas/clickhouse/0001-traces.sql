-- Spans for searching, payloads for reading and exporting, envelopes shared by many spans, records of evidence.
-- Why each key and codec is as it is: schemas/README.md.

CREATE TABLE spans (
  workspace LowCardinality(String),
  trace_id FixedString(16) CODEC(ZSTD(1)),
  span_id FixedString(8) CODEC(ZSTD(1)),
  parent_span_id FixedString(8) CODEC(ZSTD(1)),
  start_time DateTime64(9, 'UTC') CODEC(Delta(8), ZSTD(1)),
  duration_ns UInt64 CODEC(T64, ZSTD(1)),
  name LowCardinality(String),
  service LowCardinality(String),
  type LowCardinality(String),
  kind UInt8 CODEC(ZSTD(1)),
  status LowCardinality(String),
  status_message String CODEC(ZSTD(1)),
  source LowCardinality(String),
  origin LowCardinality(String),
  environment LowCardinality(String),
  provider LowCardinality(String),
  model LowCardinality(String),
  route_id LowCardinality(String),
  route_label LowCardinality(String),
  prompt_registry LowCardinality(String),
  prompt_version_id LowCardinality(String),
  session_id String CODEC(ZSTD(1)),
  user_id String CODEC(ZSTD(1)),
  run_id FixedString(16) CODEC(ZSTD(1)),
  record_id FixedString(16) CODEC(ZSTD(1)),
  usage UInt8 CODEC(ZSTD(1)),
  input_tokens UInt32 CODEC(T64, ZSTD(1)),
  output_tokens UInt32 CODEC(T64, ZSTD(1)),
  cached_tokens UInt32 CODEC(T64, ZSTD(1)),
  reasoning_tokens UInt32 CODEC(T64, ZSTD(1)),
  cost_nano_usd Int64 CODEC(T64, ZSTD(1)),
  ttft_ns UInt64 CODEC(T64, ZSTD(1)),
  attr_str Map(LowCardinality(String), String) CODEC(ZSTD(1)),
  attr_num Map(LowCardinality(String), Float64) CODEC(ZSTD(1)),
  input_preview String CODEC(ZSTD(1)),
  output_preview String CODEC(ZSTD(1)),
  ingest_seq UInt64 CODEC(Delta(8), ZSTD(1)),
  ingested_at DateTime('UTC') CODEC(Delta(4), ZSTD(1)),
  INDEX by_trace trace_id TYPE bloom_filter(0.0001) GRANULARITY 1,
  INDEX by_attr_key mapKeys(attr_str) TYPE bloom_filter(0.01) GRANULARITY 1,
  INDEX by_attr_value mapValues(attr_str) TYPE bloom_filter(0.01) GRANULARITY 1
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(ingested_at)
PRIMARY KEY (workspace, toStartOfFifteenMinutes(start_time), service, type, model)
ORDER BY (workspace, toStartOfFifteenMinutes(start_time), service, type, model, start_time)
TTL ingested_at + INTERVAL 30 DAY
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1,
  min_bytes_for_wide_part = 268435456;

CREATE TABLE payloads (
  workspace LowCardinality(String),
  trace_id FixedString(16) CODEC(ZSTD(1)),
  span_id FixedString(8) CODEC(ZSTD(1)),
  resource_hash FixedString(16) CODEC(ZSTD(1)),
  scope_hash FixedString(16) CODEC(ZSTD(1)),
  raw String CODEC(ZSTD(1)),
  ingest_seq UInt64 CODEC(Delta(8), ZSTD(1)),
  ingested_at DateTime('UTC') CODEC(Delta(4), ZSTD(1)),
  INDEX by_seq ingest_seq TYPE minmax GRANULARITY 1
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(ingested_at)
ORDER BY (workspace, trace_id, span_id)
TTL ingested_at + INTERVAL 30 DAY
SETTINGS index_granularity = 1024, non_replicated_deduplication_window = 10000, fsync_after_insert = 1,
  fsync_part_directory = 1, min_bytes_for_wide_part = 268435456;

-- Rewritten at least daily while in use, so that its time to live never ends before that of the last span that needs it.
CREATE TABLE envelopes (
  workspace LowCardinality(String),
  hash FixedString(16),
  raw String CODEC(ZSTD(1)),
  ingest_seq UInt64,
  ingested_at DateTime('UTC')
)
ENGINE = ReplacingMergeTree(ingested_at)
ORDER BY (workspace, hash)
TTL ingested_at + INTERVAL 32 DAY
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1;

-- Evidence outlives the traces it is about: no time to live.
CREATE TABLE records (
  record_id FixedString(16),
  phase LowCardinality(String),
  workspace LowCardinality(String),
  run_id FixedString(16) CODEC(ZSTD(1)),
  trace_id FixedString(16) CODEC(ZSTD(1)),
  canonical String CODEC(ZSTD(1)),
  signature FixedString(64) CODEC(NONE),
  key_id LowCardinality(String),
  context String CODEC(ZSTD(1)),
  ingest_seq UInt64 CODEC(Delta(8), ZSTD(1)),
  ingested_at DateTime('UTC') CODEC(Delta(4), ZSTD(1))
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(ingested_at)
ORDER BY (record_id, phase)
SETTINGS index_granularity = 1024, non_replicated_deduplication_window = 10000, fsync_after_insert = 1,
  fsync_part_directory = 1;
