-- Commits by name: a writer is one writing connection of a replica, its commits are numbered. Events and removals
-- carry the name of their commit; those of before carry none. Replicas that would write events without a name have
-- to be stopped first, because nobody who follows the log would see them.

CREATE TABLE writers (
  id       BIGINT  NOT NULL PRIMARY KEY, -- never given twice, in the order in which they become visible
  nonce    BIGINT  NOT NULL,
  trimmed  BIGINT  NOT NULL DEFAULT 0, -- removals up to this commit are deleted
  is_ended BOOLEAN NOT NULL DEFAULT FALSE, -- set by whoever has its advisory lock
  ended_at TIMESTAMPTZ
);

CREATE TABLE commits (
  writer   BIGINT NOT NULL,
  sequence BIGINT NOT NULL,
  is_void  BOOLEAN NOT NULL, -- taken so that no commit can have it any more
  PRIMARY KEY (writer, sequence)
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 5000);

ALTER TABLE events ADD COLUMN writer BIGINT, ADD COLUMN sequence BIGINT;

CREATE INDEX events_commit ON events (writer, sequence) WHERE writer IS NOT NULL;

-- Operations that were removed, as they were last: what followers of the log are told of them.
CREATE TABLE removals (
  writer          BIGINT      NOT NULL,
  sequence        BIGINT      NOT NULL,
  id              UUID        NOT NULL,
  revision        BIGINT      NOT NULL,
  removed_at      TIMESTAMPTZ NOT NULL DEFAULT now(), -- by the database's clock
  tenant          TEXT        COLLATE "C" NOT NULL,
  kind            TEXT        COLLATE "C" NOT NULL,
  priority        SMALLINT    NOT NULL,
  created_at      BIGINT      NOT NULL,
  idempotency_key TEXT        COLLATE "C",
  submission      BYTEA       NOT NULL,
  life            BYTEA       NOT NULL,
  PRIMARY KEY (writer, sequence, id)
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 5000);

CREATE INDEX removals_removed ON removals (removed_at);

CREATE TABLE log_state (
  last_writer BIGINT NOT NULL,
  key         BYTEA  NOT NULL -- signs positions
);

INSERT INTO log_state VALUES (0, uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()));

DROP TABLE fences;
