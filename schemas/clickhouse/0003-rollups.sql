-- Figures of model calls, a row a minute and value of one dimension, made from deduplicated spans once a quarter of an hour is
-- quiet, and made anew when more of it arrives. Who makes and reads them: src/rollups. Why not by a view: schemas/README.md.

-- Up to which place in ingest order spans of a quarter of an hour have arrived.
CREATE TABLE arrivals (
  workspace LowCardinality(String),
  quarter DateTime('UTC') CODEC(Delta(4), ZSTD(1)),
  last_seq SimpleAggregateFunction(max, UInt64) CODEC(ZSTD(1)),
  ingested_at SimpleAggregateFunction(max, DateTime('UTC')) CODEC(Delta(4), ZSTD(1))
)
ENGINE = AggregatingMergeTree
ORDER BY (workspace, quarter)
TTL ingested_at + INTERVAL 30 DAY
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1;

CREATE MATERIALIZED VIEW arrivals_of_traces TO arrivals AS
SELECT workspace, toStartOfFifteenMinutes(minute) AS quarter, max(last_seq) AS last_seq, max(ingested_at) AS ingested_at
FROM traces
GROUP BY workspace, quarter;

INSERT INTO arrivals (workspace, quarter, last_seq, ingested_at)
SELECT workspace, toStartOfFifteenMinutes(minute) AS quarter, max(last_seq) AS last_seq, max(ingested_at) AS ingested_at
FROM traces
GROUP BY workspace, quarter;

-- Which rows of `rollups` hold for a quarter: those of the roll that saw most. A roll that a crash cut off is never named here.
CREATE TABLE rolled (
  workspace LowCardinality(String),
  quarter DateTime('UTC') CODEC(Delta(4), ZSTD(1)),
  seq UInt64 CODEC(ZSTD(1)),
  roll UInt64 CODEC(ZSTD(1)),
  rolled_at DateTime('UTC') DEFAULT now() CODEC(Delta(4), ZSTD(1))
)
ENGINE = ReplacingMergeTree(seq)
ORDER BY (workspace, quarter)
TTL rolled_at + INTERVAL 30 DAY
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

CREATE TABLE rollups (
  workspace LowCardinality(String),
  dimension LowCardinality(String),
  minute DateTime('UTC') CODEC(Delta(4), ZSTD(1)),
  value LowCardinality(String),
  roll UInt64 CODEC(ZSTD(1)),
  requests UInt64 CODEC(T64, ZSTD(1)),
  errors UInt64 CODEC(T64, ZSTD(1)),
  input_tokens UInt64 CODEC(T64, ZSTD(1)),
  output_tokens UInt64 CODEC(T64, ZSTD(1)),
  cost_nano_usd Int64 CODEC(T64, ZSTD(1)),
  duration AggregateFunction(quantilesBFloat16(0.5, 0.95, 0.99), UInt64) CODEC(ZSTD(1)),
  ttft AggregateFunction(quantilesBFloat16(0.5, 0.95, 0.99), UInt64) CODEC(ZSTD(1)),
  rolled_at DateTime('UTC') DEFAULT now() CODEC(Delta(4), ZSTD(1))
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(rolled_at)
ORDER BY (workspace, dimension, minute, value)
TTL rolled_at + INTERVAL 30 DAY
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;
