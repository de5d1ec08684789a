-- Work that goes on after its answer: who asked for it, who does it, and the run that closes when it is seen to be over.

CREATE TABLE jobs (
  workspace uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  -- The upstream's own name for it; two upstreams may choose the same, a workspace never sees both.
  id text NOT NULL,
  -- The file that holds what was made, where the upstream names one.
  file_id text,
  -- What closing it needs (collectors/proxy/jobs/job.ts).
  job jsonb NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  -- One process closes it at a time; another may try when this has passed.
  claimed_until timestamptz NOT NULL DEFAULT '-infinity',
  closed_at timestamptz,
  PRIMARY KEY (workspace, id)
);

CREATE INDEX jobs_by_file ON jobs (workspace, file_id) WHERE file_id IS NOT NULL;
CREATE INDEX jobs_by_age ON jobs (created_at);
