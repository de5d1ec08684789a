-- Rows are loaded in another order than they were accepted when two lanes or planes do it: the last place alone does not tell that
-- more has come. `loads` grows with every load; one that is counted twice costs a roll, one that is not counted costs figures.

ALTER TABLE arrivals ADD COLUMN loads SimpleAggregateFunction(sum, UInt64) CODEC(ZSTD(1)) AFTER last_seq;

ALTER TABLE rolled ADD COLUMN loads UInt64 CODEC(ZSTD(1)) AFTER seq;

ALTER TABLE arrivals_of_traces MODIFY QUERY
SELECT workspace, toStartOfFifteenMinutes(minute) AS quarter, max(last_seq) AS last_seq, count() AS loads, max(ingested_at) AS ingested_at
FROM traces
GROUP BY workspace, quarter;
