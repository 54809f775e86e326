-- What is to be sent to receivers of webhooks, and what became of it.

CREATE TABLE deliveries (
  n        BIGINT   GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  id       UUID     NOT NULL UNIQUE, -- made of operation, revision and receiver
  tenant   TEXT     COLLATE "C" NOT NULL,
  endpoint TEXT     COLLATE "C" NOT NULL, -- what shares a receiver's patience
  state    SMALLINT NOT NULL, -- 1 pending, 2 delivered, 3 dead
  due_at   BIGINT   NOT NULL, -- when to send it; of what is over, when it was
  record   BYTEA    NOT NULL,
  body     BYTEA    NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 5000);

CREATE INDEX deliveries_due ON deliveries (endpoint, due_at) WHERE state = 1;
CREATE INDEX deliveries_over ON deliveries (state, due_at);
CREATE INDEX deliveries_of ON deliveries (tenant, state, n);

-- The commit of the last transition of an operation that was removed: whoever has not read it yet learns of it by the
-- removal. Unknown of what an earlier version has removed.
ALTER TABLE removals ADD COLUMN last_writer BIGINT, ADD COLUMN last_sequence BIGINT;
