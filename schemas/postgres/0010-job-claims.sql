-- Which plane began to close a job: what it had written of it, when it was cut off, is on its own disk.

ALTER TABLE jobs ADD COLUMN claimed_by uuid;
