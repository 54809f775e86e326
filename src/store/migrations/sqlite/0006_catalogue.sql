-- What administrators keep beside operations: keys, shares, limits. Entries are found by their space and name; what is
-- in a value is its space's affair. The version of a space rises with each change of it.

CREATE TABLE catalogue (
  space TEXT NOT NULL,
  name  TEXT NOT NULL,
  value BLOB NOT NULL,
  PRIMARY KEY (space, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE catalogue_versions (
  space   TEXT    NOT NULL PRIMARY KEY,
  version INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
