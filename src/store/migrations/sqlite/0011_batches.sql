-- Batches that are done, by end time, for the search for children that outlived them.

CREATE INDEX operations_batches ON operations (ended_at, id) WHERE kind = 'longrun.batch' AND state >= 4;
