-- What was asked to be deleted, for every plane that shares these stores: each erases it from what it still has on its own disk.
-- Numbered in the order of their commits, so that whoever has taken one has taken all before it.
CREATE TABLE wishes (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  plane uuid NOT NULL,
  workspace text NOT NULL,
  trace_id text,
  user_id text,
  made_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE wishes_taken (
  plane uuid PRIMARY KEY,
  id bigint NOT NULL
);
