-- What is remembered of operations that their retention has removed.

CREATE TABLE tombstones (
  n         INTEGER PRIMARY KEY, -- rises, so the oldest come first
  id        BLOB    NOT NULL,
  tenant    TEXT    NOT NULL,
  purged_at INTEGER NOT NULL,
  forget_at INTEGER NOT NULL
) STRICT;

CREATE UNIQUE INDEX tombstones_id ON tombstones (id);
