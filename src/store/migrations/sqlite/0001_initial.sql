-- The first schema. Numbers of states are those of StateName: below 4 is not done.

CREATE TABLE operations (
  n               INTEGER PRIMARY KEY,
  id              BLOB    NOT NULL,
  tenant          TEXT    NOT NULL,
  kind            TEXT    NOT NULL,
  state           INTEGER NOT NULL,
  priority        INTEGER NOT NULL,
  attempt         INTEGER NOT NULL,
  revision        INTEGER NOT NULL,
  created_at      INTEGER NOT NULL,
  updated_at      INTEGER NOT NULL,
  started_at      INTEGER,
  ended_at        INTEGER NOT NULL, -- the latest time there is, while not done
  not_before      INTEGER,          -- while queued
  wake_at         INTEGER,
  session         BLOB,             -- while leased
  worker          TEXT,             -- while leased
  idempotency_key TEXT,
  submission      BLOB    NOT NULL,
  life            BLOB    NOT NULL,
  input           BLOB,             -- if small, else in payloads
  result          BLOB
) STRICT;

CREATE UNIQUE INDEX operations_id ON operations (id);
CREATE UNIQUE INDEX operations_key ON operations (tenant, idempotency_key)
  WHERE idempotency_key IS NOT NULL;

-- Lists by create time: all, by state, by kind. A list of a kind merges its states.
CREATE INDEX operations_tenant ON operations (tenant, id);
CREATE INDEX operations_state ON operations (tenant, state, id);
CREATE INDEX operations_kind ON operations (tenant, kind, state, id);

-- Lists by end time merge the done states of this index with the others of operations_state, all of
-- which end last. So an operation is written here once, not at every transition.
CREATE INDEX operations_ended ON operations (tenant, state, ended_at, id) WHERE state >= 4;

CREATE INDEX operations_unfinished ON operations (id) WHERE state < 4;
CREATE INDEX operations_wake ON operations (wake_at) WHERE wake_at IS NOT NULL;

CREATE TABLE labels (
  id     BLOB NOT NULL,
  key    TEXT NOT NULL,
  value  TEXT NOT NULL,
  tenant TEXT NOT NULL,
  PRIMARY KEY (id, key)
) STRICT, WITHOUT ROWID;

CREATE INDEX labels_value ON labels (tenant, key, value, id);

CREATE TABLE events (
  id       BLOB    NOT NULL,
  revision INTEGER NOT NULL,
  type     INTEGER NOT NULL,
  life     BLOB    NOT NULL,
  PRIMARY KEY (id, revision)
) STRICT, WITHOUT ROWID;

CREATE TABLE log_lines (
  id       BLOB    NOT NULL,
  number   INTEGER NOT NULL,
  revision INTEGER NOT NULL,
  attempt  INTEGER NOT NULL,
  worker   TEXT,
  at       INTEGER NOT NULL,
  text     TEXT    NOT NULL,
  PRIMARY KEY (id, number)
) STRICT, WITHOUT ROWID;

-- Large payloads, so that transitions do not rewrite them. Role 1 is the input, 2 the result.
CREATE TABLE payloads (
  n    INTEGER PRIMARY KEY,
  id   BLOB    NOT NULL,
  role INTEGER NOT NULL,
  data BLOB    NOT NULL
) STRICT;

CREATE UNIQUE INDEX payloads_id ON payloads (id, role);
