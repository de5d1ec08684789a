-- How often in a row the engine failed at an experiment, and until when it leaves it alone: a fault of ours must not run for ever,
-- nor be taken for a verdict.
ALTER TABLE experiments ADD COLUMN failures integer NOT NULL DEFAULT 0;
ALTER TABLE experiments ADD COLUMN failed_until timestamptz;
