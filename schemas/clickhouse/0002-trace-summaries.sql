-- What the list of traces is found by, and the ways from an id to its spans. Every aggregate here gives the same for a span
-- that was sent twice: what must be counted is counted from the spans themselves. Why each is as it is: schemas/README.md.

ALTER TABLE spans ADD INDEX by_seq ingest_seq TYPE minmax GRANULARITY 1;

ALTER TABLE spans MATERIALIZE INDEX by_seq;

ALTER TABLE spans ADD INDEX by_user user_id TYPE bloom_filter(0.01) GRANULARITY 1;

ALTER TABLE spans MATERIALIZE INDEX by_user;

ALTER TABLE spans ADD INDEX by_session session_id TYPE bloom_filter(0.01) GRANULARITY 1;

ALTER TABLE spans MATERIALIZE INDEX by_session;

-- A row a trace and minute in which spans of it began. `root`: bit 63 says that no span of these is without a parent, the low
-- three bits are the status of the first (its place in `runStatuses`, schemas/run.ts), the rest is its start; so the least
-- of them is the span that stands for the trace. `marks`: a bit for each status that occurs, 64 for a prompt version.
CREATE TABLE traces (
  workspace LowCardinality(String),
  minute DateTime('UTC') CODEC(Delta(4), ZSTD(1)),
  trace_id FixedString(16) CODEC(ZSTD(1)),
  started SimpleAggregateFunction(min, DateTime64(9, 'UTC')) CODEC(Delta(8), ZSTD(1)),
  ended_ns SimpleAggregateFunction(max, Int64) CODEC(Delta(8), ZSTD(1)),
  root SimpleAggregateFunction(min, UInt64) CODEC(Delta(8), ZSTD(1)),
  marks SimpleAggregateFunction(groupBitOr, UInt8) CODEC(ZSTD(1)),
  last_seq SimpleAggregateFunction(max, UInt64) CODEC(Delta(8), ZSTD(1)),
  ingested_at SimpleAggregateFunction(max, DateTime('UTC')) CODEC(Delta(4), ZSTD(1)),
  INDEX by_trace trace_id TYPE bloom_filter(0.001) GRANULARITY 1,
  INDEX by_seq last_seq TYPE minmax GRANULARITY 1
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(ingested_at)
ORDER BY (workspace, minute, trace_id)
TTL ingested_at + INTERVAL 30 DAY
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1,
  min_bytes_for_wide_part = 268435456;

CREATE MATERIALIZED VIEW traces_of_spans TO traces AS
SELECT workspace, toStartOfMinute(start_time) AS minute, trace_id, min(start_time) AS started,
  max(toUnixTimestamp64Nano(start_time) + toInt64(duration_ns)) AS ended_ns,
  min(bitOr(bitShiftLeft(toUInt64(parent_span_id != unhex('0000000000000000')), 63),
    bitOr(bitAnd(toUInt64(toUnixTimestamp64Nano(start_time)), 9223372036854775800),
      toUInt64(indexOf(['ok', 'error', 'client_closed', 'truncated', 'interrupted', 'cache_hit'], status))))) AS root,
  groupBitOr(bitOr(if(prompt_version_id != '', 64, 0), bitShiftRight(bitShiftLeft(toUInt8(1),
    indexOf(['ok', 'error', 'client_closed', 'truncated', 'interrupted', 'cache_hit'], status)), 1))) AS marks,
  max(ingest_seq) AS last_seq, max(ingested_at) AS ingested_at
FROM spans
GROUP BY workspace, minute, trace_id;

-- Said twice without harm, like everything in this table, should a crash repeat it.
INSERT INTO traces (workspace, minute, trace_id, started, ended_ns, root, marks, last_seq, ingested_at)
SELECT workspace, toStartOfMinute(start_time) AS minute, trace_id, min(start_time) AS started,
  max(toUnixTimestamp64Nano(start_time) + toInt64(duration_ns)) AS ended_ns,
  min(bitOr(bitShiftLeft(toUInt64(parent_span_id != unhex('0000000000000000')), 63),
    bitOr(bitAnd(toUInt64(toUnixTimestamp64Nano(start_time)), 9223372036854775800),
      toUInt64(indexOf(['ok', 'error', 'client_closed', 'truncated', 'interrupted', 'cache_hit'], status))))) AS root,
  groupBitOr(bitOr(if(prompt_version_id != '', 64, 0), bitShiftRight(bitShiftLeft(toUInt8(1),
    indexOf(['ok', 'error', 'client_closed', 'truncated', 'interrupted', 'cache_hit'], status)), 1))) AS marks,
  max(ingest_seq) AS last_seq, max(ingested_at) AS ingested_at
FROM spans
GROUP BY workspace, minute, trace_id;
