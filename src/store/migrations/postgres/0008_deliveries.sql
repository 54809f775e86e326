-- Lists of the deliveries of one webhook, and of one operation. A replica of the version before leaves both unknown.

ALTER TABLE deliveries
  ADD COLUMN webhook   TEXT COLLATE "C" NOT NULL DEFAULT '',
  ADD COLUMN operation UUID NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000';

UPDATE deliveries
SET webhook = convert_from(record, 'UTF8')::json ->> 'webhook',
    operation = (convert_from(record, 'UTF8')::json ->> 'operation')::uuid;

CREATE INDEX deliveries_of_webhook ON deliveries (webhook, state, n);
CREATE INDEX deliveries_of_operation ON deliveries (operation);
