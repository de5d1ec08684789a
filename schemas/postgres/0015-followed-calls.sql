-- Discovery follows the stored calls in ingest order. How far it has come is written with what it knows, in one statement, so that
-- neither is ever ahead of the other.
ALTER TABLE discovery_snapshots
  ADD COLUMN cursor numeric(20),
  -- Calls behind the cursor that are known already because they were seen as they passed: ids of runs, 16 bytes each.
  ADD COLUMN passed bytea NOT NULL DEFAULT '';

-- What is told its version late: a run, by its id, or a stored span, by where it lies (trace, span, quarter of an hour).
ALTER TABLE prompt_assignments RENAME COLUMN run_id TO ref;
ALTER TABLE prompt_assignments DROP CONSTRAINT prompt_assignments_run_id_check;
ALTER TABLE prompt_assignments ADD CHECK (length(ref) IN (16, 28));
