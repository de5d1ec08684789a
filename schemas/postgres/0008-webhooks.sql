-- What is told to the address of a prompt's owner, until it has been taken or given up. One row an experiment and event.

CREATE TABLE webhooks (
  webhook_id uuid PRIMARY KEY,
  workspace uuid NOT NULL,
  experiment_id uuid NOT NULL REFERENCES experiments ON DELETE CASCADE,
  event text NOT NULL,
  url text NOT NULL,
  body text NOT NULL,
  status text NOT NULL DEFAULT 'waiting' CHECK (status IN ('waiting', 'delivered', 'given_up')),
  attempts integer NOT NULL DEFAULT 0,
  last_error text,
  due_at timestamptz NOT NULL DEFAULT now(),
  created_at timestamptz NOT NULL DEFAULT now(),
  UNIQUE (experiment_id, event)
);
CREATE INDEX webhooks_due ON webhooks (due_at) WHERE status = 'waiting';
