-- Experiments: what was registered before the first call, each drawn conversation, each replayed call, and what it cost.
-- One row per experiment, conversation, arm and step is what makes a call happen once, however often a job is delivered.

CREATE TABLE experiments (
  experiment_id uuid PRIMARY KEY,
  regression_id uuid NOT NULL UNIQUE,
  workspace uuid NOT NULL,
  registry_id text NOT NULL,
  baseline text NOT NULL,
  candidate text NOT NULL,
  status text NOT NULL CHECK (status IN ('queued', 'replaying', 'passed', 'failed', 'inconclusive', 'error', 'cancelled', 'shadow', 'canary')),
  promotion_status text NOT NULL DEFAULT 'pending' CHECK (promotion_status IN ('pending', 'promoted', 'held', 'not_promoted', 'rolled_back')),
  -- A sentence: why it waits, why it was held, what went wrong.
  reason text NOT NULL DEFAULT '',
  started_by text NOT NULL,
  -- What the owner asked for; the rule itself is in the registration.
  asked json NOT NULL DEFAULT '{}',
  -- The registration under its hash, and what the frame kept and lost; null until it was drawn.
  registration json,
  registration_hash text,
  frame json,
  decision json,
  -- What the ramp and the watch are at; null outside serve mode.
  live json,
  budget_nano_usd bigint,
  budget_per_day_nano_usd bigint,
  spent_nano_usd bigint NOT NULL DEFAULT 0,
  calls integer NOT NULL DEFAULT 0,
  duplicate_calls integer NOT NULL DEFAULT 0,
  stopped text CHECK (stopped IN ('budget', 'cancelled')),
  -- Not looked at before it; moves back while there is nothing to do.
  due_at timestamptz NOT NULL DEFAULT now(),
  attempts integer NOT NULL DEFAULT 0,
  created_at timestamptz NOT NULL DEFAULT now(),
  started_at timestamptz,
  decided_at timestamptz,
  FOREIGN KEY (workspace, registry_id) REFERENCES prompt_registries ON DELETE CASCADE
);
CREATE UNIQUE INDEX experiments_one_running ON experiments (workspace, registry_id) WHERE status = 'replaying';
CREATE UNIQUE INDEX experiments_one_queued ON experiments (workspace, registry_id) WHERE status = 'queued';
CREATE INDEX experiments_listed ON experiments (workspace, created_at DESC, experiment_id);
CREATE INDEX experiments_open ON experiments (due_at)
  WHERE status IN ('queued', 'replaying', 'shadow', 'canary') OR promotion_status = 'pending' OR live IS NOT NULL;

-- Drawn before the first call, in the order of the seed; the sample is a prefix of it.
CREATE TABLE experiment_units (
  experiment_id uuid NOT NULL REFERENCES experiments ON DELETE CASCADE,
  unit integer NOT NULL,
  source json NOT NULL,
  request json NOT NULL,
  -- One row of evidence as the decision reads it; null until all arms have answered.
  outcome json,
  label text,
  note text,
  labelled_by text,
  PRIMARY KEY (experiment_id, unit)
);

CREATE TABLE experiment_calls (
  experiment_id uuid NOT NULL REFERENCES experiments ON DELETE CASCADE,
  unit integer NOT NULL,
  arm text NOT NULL,
  step integer NOT NULL,
  state text NOT NULL CHECK (state IN ('claimed', 'answered', 'failed')),
  owner text NOT NULL,
  lease_until timestamptz NOT NULL,
  attempts integer NOT NULL DEFAULT 1,
  reserved_nano_usd bigint NOT NULL,
  cost_nano_usd bigint,
  answer json,
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (experiment_id, unit, arm, step)
);

-- What replays cost a day: of one registry, and under the empty name of the whole workspace.
CREATE TABLE experiment_spend (
  workspace uuid NOT NULL,
  registry_id text NOT NULL,
  day date NOT NULL,
  spent_nano_usd bigint NOT NULL,
  PRIMARY KEY (workspace, registry_id, day)
);

CREATE TABLE experiment_events (
  experiment_id uuid NOT NULL REFERENCES experiments ON DELETE CASCADE,
  ordinal bigint GENERATED ALWAYS AS IDENTITY,
  at timestamptz NOT NULL DEFAULT now(),
  actor text NOT NULL,
  status text NOT NULL,
  promotion_status text NOT NULL,
  reason text NOT NULL,
  PRIMARY KEY (experiment_id, ordinal)
);
