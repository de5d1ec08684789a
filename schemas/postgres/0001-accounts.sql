-- Who may call, what we sign with, and which prompts are known. Secrets are digests, or sealed with the master key.

CREATE TABLE users (
  id uuid PRIMARY KEY,
  email text NOT NULL UNIQUE,
  name text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE keys (
  id uuid PRIMARY KEY,
  user_id uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  digest bytea NOT NULL UNIQUE CHECK (length(digest) = 32),
  name text NOT NULL,
  scopes text[] NOT NULL,
  is_active boolean NOT NULL DEFAULT true,
  created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX keys_by_user ON keys (user_id);

-- A browser's way in: the digest of a random cookie, standing for the key that opened it.
CREATE TABLE sessions (
  digest bytea PRIMARY KEY CHECK (length(digest) = 32),
  key_id uuid NOT NULL REFERENCES keys (id) ON DELETE CASCADE,
  created_at timestamptz NOT NULL DEFAULT now(),
  expires_at timestamptz NOT NULL
);

CREATE TABLE signing_keys (
  key_id text PRIMARY KEY,
  purpose text NOT NULL CHECK (purpose IN ('root', 'record')),
  public_key bytea NOT NULL CHECK (length(public_key) = 32),
  sealed_seed bytea NOT NULL,
  status text NOT NULL CHECK (status IN ('active', 'retired', 'compromised')),
  certificate jsonb,
  not_before timestamptz NOT NULL,
  not_after timestamptz NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX signing_keys_one_active ON signing_keys (purpose) WHERE status = 'active';

-- The key from which the salts of a workspace's commitments follow; destroying it shreds them all.
CREATE TABLE subject_keys (
  workspace uuid PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
  sealed_key bytea,
  shredded_at timestamptz
);

CREATE TABLE prompt_registries (
  workspace uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  registry_id text NOT NULL,
  display_name text NOT NULL,
  source text NOT NULL CHECK (source IN ('auto_backfill', 'declared')),
  mode text NOT NULL DEFAULT 'observe' CHECK (mode IN ('observe', 'serve')),
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (workspace, registry_id)
);

CREATE TABLE prompt_versions (
  workspace uuid NOT NULL,
  registry_id text NOT NULL,
  version text NOT NULL,
  ordinal bigint GENERATED ALWAYS AS IDENTITY,
  status text NOT NULL DEFAULT 'observed',
  content_hash text,
  conflict boolean NOT NULL DEFAULT false,
  first_seen_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (workspace, registry_id, version),
  FOREIGN KEY (workspace, registry_id) REFERENCES prompt_registries ON DELETE CASCADE
);
