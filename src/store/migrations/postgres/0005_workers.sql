-- What a worker's session serves, so that each replica can say whether any replica has a worker for a kind: the kinds,
-- separated by spaces, and how many attempts the worker runs at once. Older programs leave both empty.

ALTER TABLE sessions
  ADD COLUMN kinds  TEXT    COLLATE "C" NOT NULL DEFAULT '',
  ADD COLUMN places INTEGER NOT NULL DEFAULT 0;
