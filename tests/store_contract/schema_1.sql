-- What longrun wrote before there were tombstones: a store of schema 1 with an operation that is done and one that
-- is queued. Never to be changed.
PRAGMA application_id = 1280472430;
PRAGMA user_version = 1;
BEGIN TRANSACTION;
CREATE TABLE events (
  id       BLOB    NOT NULL,
  revision INTEGER NOT NULL,
  type     INTEGER NOT NULL,
  life     BLOB    NOT NULL,
  PRIMARY KEY (id, revision)
) STRICT, WITHOUT ROWID;
INSERT INTO "events" VALUES(X'01A200C2D8987328B4D3B9BF0A661699',1,1,X'0801100118ECA9F8C8AF9A9803');
INSERT INTO "events" VALUES(X'01A200C2D8987328B4D3B9BF0A661699',2,2,X'0802100218ECA9F8C8AF9A980320013208766D2D323238393040006A1001A200C2D4AE7360A15FA770A94074F8');
INSERT INTO "events" VALUES(X'01A200C2D8987328B4D3B9BF0A661699',3,6,X'0804100318BBE3F8C8AF9A980320013208766D2D32323839303801409D73880180809D8E9A2392010408011002');
INSERT INTO "events" VALUES(X'01A200C2D8AA772A94665045D34679FD',1,1,X'080110011885B5F9C8AF9A9803');
CREATE TABLE labels (
  id     BLOB NOT NULL,
  key    TEXT NOT NULL,
  value  TEXT NOT NULL,
  tenant TEXT NOT NULL,
  PRIMARY KEY (id, key)
) STRICT, WITHOUT ROWID;
INSERT INTO "labels" VALUES(X'01A200C2D8987328B4D3B9BF0A661699','team','maps','default');
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
INSERT INTO "operations" VALUES(1,X'01A200C2D8987328B4D3B9BF0A661699','default','shout',4,0,1,3,1795309099160812,1795309099168187,1795309099160812,1795309099168187,NULL,1795913899168187,NULL,NULL,'monday',X'0A0C0A047465616D12046D6170731A20CAAAD131653B647CC9BEBDECFCE867D22D0136A3118D39531D0F5E86E00CFD042A0408011002',X'0804100318BBE3F8C8AF9A980320013208766D2D32323839303801409D73880180809D8E9A2392010408011002',X'6869',X'4849');
INSERT INTO "operations" VALUES(2,X'01A200C2D8AA772A94665045D34679FD','default','nobody',1,0,0,1,1795309099178629,1795309099178629,NULL,9223372036854775807,1795309099178629,NULL,NULL,NULL,NULL,X'2A10080110051A0A746578742F706C61696E',X'080110011885B5F9C8AF9A9803',X'6C61746572',NULL);
CREATE TABLE payloads (
  n    INTEGER PRIMARY KEY,
  id   BLOB    NOT NULL,
  role INTEGER NOT NULL,
  data BLOB    NOT NULL
) STRICT;
CREATE UNIQUE INDEX operations_id ON operations (id);
CREATE UNIQUE INDEX operations_key ON operations (tenant, idempotency_key)
  WHERE idempotency_key IS NOT NULL;
CREATE INDEX operations_tenant ON operations (tenant, id);
CREATE INDEX operations_state ON operations (tenant, state, id);
CREATE INDEX operations_kind ON operations (tenant, kind, state, id);
CREATE INDEX operations_ended ON operations (tenant, state, ended_at, id) WHERE state >= 4;
CREATE INDEX operations_unfinished ON operations (id) WHERE state < 4;
CREATE INDEX operations_wake ON operations (wake_at) WHERE wake_at IS NOT NULL;
CREATE INDEX labels_value ON labels (tenant, key, value, id);
CREATE UNIQUE INDEX payloads_id ON payloads (id, role);
COMMIT;
