-- How far each plane has loaded what it accepted, in ingest order. Readers in that order go no further than the least of them.

CREATE TABLE watermarks (
  id uuid PRIMARY KEY,
  mark numeric(20) NOT NULL,
  seen_at timestamptz NOT NULL
);
