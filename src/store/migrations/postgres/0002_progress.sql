-- How far running attempts have come, as the replicas say to which it was reported. It is written often and
-- worth little: a crash of the database may empty it.
CREATE UNLOGGED TABLE progress (
  id          UUID             NOT NULL PRIMARY KEY,
  attempt     BIGINT           NOT NULL,
  percent     DOUBLE PRECISION,
  done_units  BIGINT,
  total_units BIGINT,
  message     BYTEA            NOT NULL,
  reported_at BIGINT           NOT NULL,
  replica     UUID             NOT NULL,
  left_at     TIMESTAMPTZ      NOT NULL -- by the database's clock
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 1000);

CREATE INDEX progress_left ON progress (left_at);
