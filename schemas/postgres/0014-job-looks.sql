-- Jobs that nobody asks about are looked at now and then, more and more seldom, until they are over.

ALTER TABLE jobs
  ADD COLUMN looks smallint NOT NULL DEFAULT 0,
  ADD COLUMN look_at timestamptz NOT NULL DEFAULT now() + interval '10 minutes';

CREATE INDEX jobs_by_look ON jobs (look_at) WHERE closed_at IS NULL;
