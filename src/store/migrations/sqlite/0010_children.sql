-- Children of batches: whose each is, and how many of a batch were removed, by the state that they had ended in.

ALTER TABLE operations ADD COLUMN parent BLOB; -- NULL where it is no child

-- Counts by state read nothing but this, and lists of children are in its order.
CREATE INDEX operations_children ON operations (tenant, parent, state, id) WHERE parent IS NOT NULL;

CREATE TABLE removed_children (
  parent BLOB    NOT NULL,
  state  INTEGER NOT NULL,
  count  INTEGER NOT NULL,
  PRIMARY KEY (parent, state)
) STRICT, WITHOUT ROWID;

-- Whoever removes a child, the batch has had it.
CREATE TRIGGER operations_child_removed AFTER DELETE ON operations WHEN OLD.parent IS NOT NULL
BEGIN
  INSERT INTO removed_children (parent, state, count)
  SELECT OLD.parent, OLD.state, 1 FROM operations WHERE id = OLD.parent
  ON CONFLICT (parent, state) DO UPDATE SET count = count + 1;
END;

CREATE TRIGGER operations_batch_removed AFTER DELETE ON operations WHEN OLD.kind = 'longrun.batch'
BEGIN
  DELETE FROM removed_children WHERE parent = OLD.id;
END;
