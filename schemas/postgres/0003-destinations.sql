-- Where spans are pushed to, how far each destination has come, and what it would not take.

CREATE TABLE destinations (
  id uuid PRIMARY KEY,
  workspace uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  name text NOT NULL,
  url text NOT NULL,
  protocol text NOT NULL CHECK (protocol IN ('http/protobuf', 'http/json')),
  compression text NOT NULL CHECK (compression IN ('gzip', 'none')),
  sealed_headers bytea NOT NULL,
  filter jsonb NOT NULL,
  redact jsonb NOT NULL,
  -- From the configuration file: its address is the operator's word. From the API: only public addresses are reached.
  is_trusted boolean NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  -- The last place in ingest order that is done with.
  cursor numeric(20) NOT NULL,
  sent_spans bigint NOT NULL DEFAULT 0,
  rejected_spans bigint NOT NULL DEFAULT 0,
  dead_spans bigint NOT NULL DEFAULT 0,
  failures integer NOT NULL DEFAULT 0,
  last_status integer,
  last_error text,
  last_error_at timestamptz,
  last_success_at timestamptz,
  retry_at timestamptz,
  -- The process that pushes to it, until when; another takes over afterwards.
  owner uuid,
  owned_until timestamptz NOT NULL DEFAULT now(),
  UNIQUE (workspace, name)
);

-- Spans a destination refused for good: named, so that a person can send them again; their bytes are where they always were.
CREATE TABLE dead_letters (
  destination_id uuid NOT NULL REFERENCES destinations (id) ON DELETE CASCADE,
  seq numeric(20) NOT NULL,
  trace_id text NOT NULL,
  span_id text NOT NULL,
  status integer,
  reason text NOT NULL,
  died_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (destination_id, seq, span_id)
);
