-- A payment as it is listed has a name of ours beside the one it has where it came from.

ALTER TABLE credits ADD COLUMN id uuid NOT NULL DEFAULT gen_random_uuid();
