-- What administrators keep beside operations: keys, shares, limits. Entries are found by their space and name; what is
-- in a value is its space's affair. The version of a space rises with each change of it.

CREATE TABLE catalogue (
  space TEXT  COLLATE "C" NOT NULL,
  name  TEXT  COLLATE "C" NOT NULL,
  value BYTEA NOT NULL,
  PRIMARY KEY (space, name)
);

CREATE TABLE catalogue_versions (
  space   TEXT   COLLATE "C" NOT NULL PRIMARY KEY,
  version BIGINT NOT NULL
);
