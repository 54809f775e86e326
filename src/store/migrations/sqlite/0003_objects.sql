-- Which objects of the object store hold payloads, and whose.

CREATE TABLE objects (
  id        BLOB NOT NULL PRIMARY KEY,
  operation BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX objects_operation ON objects (operation);
