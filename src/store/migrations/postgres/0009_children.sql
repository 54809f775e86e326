-- Children of batches: whose each is, and which states those had ended in that were removed.

ALTER TABLE operations ADD COLUMN parent UUID; -- NULL where it is no child

-- Counts by state read nothing but this, and lists of children are in its order. No row has a parent yet, so that making it
-- takes no longer than reading the table once.
CREATE INDEX operations_children ON operations (tenant, parent, state, id) WHERE parent IS NOT NULL;

-- A row for each: those who remove children of one batch at once do not wait for each other.
CREATE TABLE removed_children (
  parent UUID     NOT NULL,
  state  SMALLINT NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0.05);

CREATE INDEX removed_children_parent ON removed_children (parent, state);

-- Whoever removes a child, also a replica of the version before, the batch has had it.
CREATE FUNCTION longrun_child_removed() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO removed_children (parent, state)
  SELECT OLD.parent, OLD.state FROM operations AS o WHERE o.id = OLD.parent;
  RETURN NULL;
END $$;

CREATE TRIGGER operations_child_removed AFTER DELETE ON operations
  FOR EACH ROW WHEN (OLD.parent IS NOT NULL) EXECUTE FUNCTION longrun_child_removed();

CREATE FUNCTION longrun_batch_removed() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
  DELETE FROM removed_children WHERE parent = OLD.id;
  RETURN NULL;
END $$;

CREATE TRIGGER operations_batch_removed AFTER DELETE ON operations
  FOR EACH ROW WHEN (OLD.kind = 'longrun.batch') EXECUTE FUNCTION longrun_batch_removed();
