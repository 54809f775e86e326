-- What is to be sent to receivers of webhooks, and what became of it.

CREATE TABLE deliveries (
  n        INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
  id       BLOB    NOT NULL UNIQUE, -- made of operation, revision and receiver
  tenant   TEXT    NOT NULL,
  endpoint TEXT    NOT NULL, -- what shares a receiver's patience
  state    INTEGER NOT NULL, -- 1 pending, 2 delivered, 3 dead
  due_at   INTEGER NOT NULL, -- when to send it; of what is over, when it was
  record   BLOB    NOT NULL,
  body     BLOB    NOT NULL
);

CREATE INDEX deliveries_due ON deliveries (endpoint, due_at) WHERE state = 1;
CREATE INDEX deliveries_over ON deliveries (state, due_at);
CREATE INDEX deliveries_of ON deliveries (tenant, state, n);
