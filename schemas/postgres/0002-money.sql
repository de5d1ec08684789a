-- Terms of keys, passwords, budgets and balances, answers to be given again. Money is in nano-USD; a cent is ten million of them.

ALTER TABLE users ADD COLUMN password text;
-- Everything ever credited; what was spent of it stands in `purses`.
ALTER TABLE users ADD COLUMN credited_nano_usd bigint NOT NULL DEFAULT 0 CHECK (credited_nano_usd >= 0);

ALTER TABLE keys ADD COLUMN rate_limit_rpm integer CHECK (rate_limit_rpm > 0);
ALTER TABLE keys ADD COLUMN monthly_budget_nano_usd bigint CHECK (monthly_budget_nano_usd >= 0);
ALTER TABLE keys ADD COLUMN responses_streaming boolean NOT NULL DEFAULT true;
ALTER TABLE keys ADD COLUMN revoked_at timestamptz;

-- A session stands for the key that opened it, or for a user who came with a password.
ALTER TABLE sessions ALTER COLUMN key_id DROP NOT NULL;
ALTER TABLE sessions ADD COLUMN user_id uuid REFERENCES users (id) ON DELETE CASCADE;
ALTER TABLE sessions ADD CONSTRAINT sessions_of_one CHECK ((key_id IS NULL) <> (user_id IS NULL));

-- `reference` is the payment's own name: the same payment credits once.
CREATE TABLE credits (
  reference text PRIMARY KEY,
  workspace uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  kind text NOT NULL,
  amount_nano_usd bigint NOT NULL CHECK (amount_nano_usd > 0),
  created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX credits_by_workspace ON credits (workspace, created_at);

-- What money is taken from: a key in a month (`2026-11`), or a workspace's balance (period '').
-- Free to take: the budget, less spent, less held by tills for calls that may still come or still run.
CREATE TABLE purses (
  purse uuid NOT NULL,
  period text NOT NULL,
  workspace uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  spent_nano_usd bigint NOT NULL DEFAULT 0 CHECK (spent_nano_usd >= 0),
  held_nano_usd bigint NOT NULL DEFAULT 0 CHECK (held_nano_usd >= 0),
  PRIMARY KEY (purse, period)
);

-- One start of one process. A till that ended in order is gone; one that is left behind is settled from the runs it names.
CREATE TABLE tills (
  till uuid PRIMARY KEY,
  home uuid NOT NULL,
  opened_at timestamptz NOT NULL DEFAULT now(),
  seen_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX tills_by_home ON tills (home);

-- Both amounts are this till's own totals, not steps, so that writing them twice changes nothing.
CREATE TABLE till_purses (
  till uuid NOT NULL REFERENCES tills (till) ON DELETE CASCADE,
  purse uuid NOT NULL,
  period text NOT NULL,
  settled_nano_usd bigint NOT NULL DEFAULT 0,
  held_nano_usd bigint NOT NULL DEFAULT 0 CHECK (held_nano_usd >= 0),
  PRIMARY KEY (till, purse, period),
  FOREIGN KEY (purse, period) REFERENCES purses ON DELETE CASCADE
);

-- Buckets that several processes share. A crash of the database empties them, and they are full again a minute later.
CREATE UNLOGGED TABLE rate_buckets (
  bucket text PRIMARY KEY,
  level double precision NOT NULL,
  at timestamptz NOT NULL
);

-- Answers under an Idempotency-Key: claimed while the call runs, then kept for a day. The answer is sealed with the master key.
CREATE TABLE kept_answers (
  workspace uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  key_id uuid NOT NULL,
  name bytea NOT NULL CHECK (length(name) = 32),
  fingerprint bytea NOT NULL CHECK (length(fingerprint) = 32),
  claim uuid NOT NULL,
  claimed_until timestamptz NOT NULL,
  run_id uuid,
  sealed bytea,
  expires_at timestamptz NOT NULL,
  PRIMARY KEY (workspace, key_id, name)
);
CREATE INDEX kept_answers_by_expiry ON kept_answers (expires_at);
