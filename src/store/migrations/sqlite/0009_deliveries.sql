-- Lists of the deliveries of one webhook, and of one operation.

ALTER TABLE deliveries ADD COLUMN webhook TEXT NOT NULL DEFAULT '';
ALTER TABLE deliveries ADD COLUMN operation BLOB NOT NULL DEFAULT x'00000000000000000000000000000000';

UPDATE deliveries
SET webhook = json_extract(CAST(record AS TEXT), '$.webhook'),
    operation = unhex(json_extract(CAST(record AS TEXT), '$.operation'), '-')
WHERE json_valid(CAST(record AS TEXT));

CREATE INDEX deliveries_of_webhook ON deliveries (webhook, state, n);
CREATE INDEX deliveries_of_operation ON deliveries (operation);
