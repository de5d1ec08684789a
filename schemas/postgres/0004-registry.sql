-- Prompt registries: what a version's content is, what is in force, and how it came to be so. Events are only ever added; the
-- columns of a registry are what its events fold to.

ALTER TABLE prompt_registries
  ADD COLUMN policy jsonb NOT NULL DEFAULT '{}',
  ADD COLUMN promoted text,
  ADD COLUMN promoted_by text CHECK (promoted_by IN ('person', 'machine')),
  ADD COLUMN earlier text[] NOT NULL DEFAULT '{}',
  ADD COLUMN baseline text,
  ADD COLUMN pinned text,
  ADD COLUMN canary jsonb,
  ADD COLUMN flooded boolean NOT NULL DEFAULT false,
  ADD COLUMN held_back text[] NOT NULL DEFAULT '{}',
  -- The last event: another is added only by whoever holds this row.
  ADD COLUMN head_seq bigint NOT NULL DEFAULT 0,
  ADD COLUMN head_hash text NOT NULL DEFAULT '';

-- Processes that serve prompts read what changed since they last looked.
CREATE SEQUENCE prompt_changes;
ALTER TABLE prompt_registries ADD COLUMN changed bigint NOT NULL DEFAULT nextval('prompt_changes');
CREATE INDEX prompt_registries_by_change ON prompt_registries (changed);

ALTER TABLE prompt_versions
  ADD COLUMN source text NOT NULL DEFAULT 'auto_backfill' CHECK (source IN ('auto_backfill', 'declared')),
  -- Sub-hashes: text, tools, responseFormat, params.
  ADD COLUMN hashes jsonb,
  -- Of a declared version: what is served. Of a discovered one: literals and slots, and its tools as they were sent.
  ADD COLUMN content jsonb,
  ADD COLUMN note text,
  ADD COLUMN merged_into text;
CREATE UNIQUE INDEX prompt_versions_declared_once ON prompt_versions (workspace, registry_id, content_hash) WHERE source = 'declared';

CREATE TABLE prompt_events (
  workspace uuid NOT NULL,
  registry_id text NOT NULL,
  seq bigint NOT NULL,
  at timestamptz NOT NULL,
  actor jsonb NOT NULL,
  reason text NOT NULL,
  evidence jsonb,
  fact jsonb NOT NULL,
  previous_hash text NOT NULL,
  hash text NOT NULL,
  PRIMARY KEY (workspace, registry_id, seq),
  FOREIGN KEY (workspace, registry_id) REFERENCES prompt_registries ON DELETE CASCADE
);

-- History is not edited. It goes with its registry, and only so.
CREATE FUNCTION refuse_prompt_event_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'DELETE' AND NOT EXISTS (
    SELECT 1 FROM prompt_registries WHERE workspace = OLD.workspace AND registry_id = OLD.registry_id
  ) THEN
    RETURN OLD;
  END IF;
  RAISE EXCEPTION 'prompt_events are only ever added';
END
$$;
CREATE TRIGGER prompt_events_stay BEFORE UPDATE OR DELETE ON prompt_events
  FOR EACH ROW EXECUTE FUNCTION refuse_prompt_event_change();

-- Runs whose version was found after they were stored. Rows leave when the stored runs bear it.
CREATE TABLE prompt_assignments (
  workspace uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  run_id bytea NOT NULL CHECK (length(run_id) = 16),
  version_id text NOT NULL,
  assigned_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (workspace, run_id)
);

-- What discovery knows, as it last wrote it down: one row.
CREATE TABLE discovery_snapshots (
  id integer PRIMARY KEY CHECK (id = 1),
  snapshot bytea NOT NULL,
  written_at timestamptz NOT NULL
);
