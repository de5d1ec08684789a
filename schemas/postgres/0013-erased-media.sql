-- Pieces whose rows are being erased, by whichever plane comes first: the others have files of theirs, and no row that names them.
CREATE TABLE erased_media (
  workspace text NOT NULL,
  sha256 text NOT NULL CHECK (sha256 ~ '^[0-9a-f]{64}$'),
  erased_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (workspace, sha256)
);
