-- Commits by name: a writer is one opening of the file, its commits are numbered. Events and removals carry the
-- name of their commit; those of before carry none.

CREATE TABLE writers (
  id       INTEGER PRIMARY KEY, -- never given twice
  nonce    INTEGER NOT NULL,
  trimmed  INTEGER NOT NULL, -- removals up to this commit are deleted
  is_ended INTEGER NOT NULL,
  ended_at INTEGER           -- at the latest
) STRICT;

CREATE TABLE commits (
  writer   INTEGER NOT NULL,
  sequence INTEGER NOT NULL,
  is_void  INTEGER NOT NULL, -- taken so that no commit can have it any more
  PRIMARY KEY (writer, sequence)
) STRICT, WITHOUT ROWID;

ALTER TABLE events ADD COLUMN writer INTEGER;
ALTER TABLE events ADD COLUMN sequence INTEGER;

CREATE INDEX events_commit ON events (writer, sequence) WHERE writer IS NOT NULL;

-- Operations that were removed, as they were last: what followers of the log are told of them.
CREATE TABLE removals (
  writer          INTEGER NOT NULL,
  sequence        INTEGER NOT NULL,
  id              BLOB    NOT NULL,
  revision        INTEGER NOT NULL,
  removed_at      INTEGER NOT NULL,
  tenant          TEXT    NOT NULL,
  kind            TEXT    NOT NULL,
  priority        INTEGER NOT NULL,
  created_at      INTEGER NOT NULL,
  idempotency_key TEXT,
  submission      BLOB    NOT NULL,
  life            BLOB    NOT NULL,
  PRIMARY KEY (writer, sequence, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE log_state (
  last_writer INTEGER NOT NULL,
  key         BLOB    NOT NULL -- signs positions
) STRICT;

INSERT INTO log_state VALUES (0, randomblob(32));
