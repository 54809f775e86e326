-- What is not done and what is done have indexes of their own, so that an operation is written to the latter once, when
-- it ends. Lists merge them. That each revision is above zero is said so that only statements that say it go through these
-- indexes: claims and commits have their own, and are not to be planned anew when a table has grown.

DROP INDEX operations_tenant;
DROP INDEX operations_state;
DROP INDEX operations_kind;
DROP INDEX operations_unfinished;

CREATE INDEX operations_active ON operations (tenant, id) WHERE state < 4 AND revision > 0;
CREATE INDEX operations_queued ON operations (tenant, kind, id) WHERE state = 1 AND revision > 0;
CREATE INDEX operations_running ON operations (tenant, state, id) WHERE state IN (2, 3) AND revision > 0;
CREATE INDEX operations_done ON operations (tenant, state, id) WHERE state >= 4 AND revision > 0;
CREATE INDEX operations_done_kind ON operations (tenant, kind, state, id) WHERE state >= 4 AND revision > 0;
