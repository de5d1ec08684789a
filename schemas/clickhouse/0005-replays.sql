-- The list of traces shows what callers did: a trace of our own replays bears mark 128, and is found by its session or its id.

ALTER TABLE traces_of_spans MODIFY QUERY
SELECT workspace, toStartOfMinute(start_time) AS minute, trace_id, min(start_time) AS started,
  max(toUnixTimestamp64Nano(start_time) + toInt64(duration_ns)) AS ended_ns,
  min(bitOr(bitShiftLeft(toUInt64(parent_span_id != unhex('0000000000000000')), 63),
    bitOr(bitAnd(toUInt64(toUnixTimestamp64Nano(start_time)), 9223372036854775800),
      toUInt64(indexOf(['ok', 'error', 'client_closed', 'truncated', 'interrupted', 'cache_hit'], status))))) AS root,
  groupBitOr(bitOr(bitOr(if(prompt_version_id != '', 64, 0), if(origin = 'replay', 128, 0)), bitShiftRight(bitShiftLeft(toUInt8(1),
    indexOf(['ok', 'error', 'client_closed', 'truncated', 'interrupted', 'cache_hit'], status)), 1))) AS marks,
  max(ingest_seq) AS last_seq, max(ingested_at) AS ingested_at
FROM spans
GROUP BY workspace, minute, trace_id;
