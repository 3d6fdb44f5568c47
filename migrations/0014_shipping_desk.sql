-- The shipping desk: corrected parcels, files of parcels, uploads in trouble, money that WeChat holds back;
-- orders and people are found fast; what staff is told at once.

ALTER TABLE shipping_uploads ADD COLUMN store_id VARCHAR(32) NOT NULL DEFAULT '';
UPDATE shipping_uploads SET store_id = (SELECT o.store_id FROM orders o WHERE o.id = shipping_uploads.order_id);
-- The one chance to upload parcels again after all of them were accepted is used since then.
ALTER TABLE shipping_uploads ADD COLUMN corrected_ms BIGINT;
-- Since when WeChat refuses what it is told; null: it does not.
ALTER TABLE shipping_uploads ADD COLUMN failed_ms BIGINT;
-- WeChat has settled the money; until then it is asked at settle_check_ms whether it has.
ALTER TABLE shipping_uploads ADD COLUMN settled_ms BIGINT;
ALTER TABLE shipping_uploads ADD COLUMN settle_check_ms BIGINT;
ALTER TABLE shipping_uploads ADD COLUMN settle_checks BIGINT NOT NULL DEFAULT 0;
CREATE INDEX shipping_uploads_failed ON shipping_uploads (failed_ms, order_id);
CREATE INDEX shipping_uploads_settle ON shipping_uploads (settle_check_ms);
UPDATE shipping_uploads SET failed_ms = paid_ms WHERE error IS NOT NULL AND state IN ('PENDING', 'GIVEN_UP');
UPDATE shipping_uploads SET settle_check_ms = accepted_ms + 1036800000 WHERE state = 'ACCEPTED' AND all_delivered = 1;

-- A file of parcels: looked at first, applied as a whole later.
CREATE TABLE shipping_batches (
    id VARCHAR(32) NOT NULL PRIMARY KEY,
    staff_id VARCHAR(32) NOT NULL,
    state VARCHAR(16) NOT NULL,
    row_count BIGINT NOT NULL,
    created_ms BIGINT NOT NULL,
    applied_ms BIGINT,
    -- Who applied it, and in which request.
    applied_by VARCHAR(32),
    request_id VARCHAR(64) NOT NULL,
    ended_ms BIGINT,
    tries BIGINT NOT NULL,
    next_ms BIGINT
);
CREATE INDEX shipping_batches_due ON shipping_batches (next_ms);
CREATE INDEX shipping_batches_staff ON shipping_batches (staff_id, id);

-- Rows of a file by their line there. Those with the same parcel_line make one parcel.
CREATE TABLE shipping_batch_rows (
    batch_id VARCHAR(32) NOT NULL,
    file_line BIGINT NOT NULL,
    parcel_line BIGINT NOT NULL,
    state VARCHAR(16) NOT NULL,
    -- As the file has them.
    order_text VARCHAR(128) NOT NULL,
    carrier_text VARCHAR(128) NOT NULL,
    tracking_no VARCHAR(128) NOT NULL,
    item_text VARCHAR(128) NOT NULL,
    quantity_text VARCHAR(128) NOT NULL,
    -- What they mean. No line: all that is left of the order.
    order_id VARCHAR(32),
    carrier VARCHAR(128) NOT NULL,
    carrier_name VARCHAR(128) NOT NULL,
    line_id VARCHAR(32),
    quantity BIGINT,
    parcel_id VARCHAR(32),
    code VARCHAR(64),
    detail VARCHAR(300),
    PRIMARY KEY (batch_id, file_line)
);

-- Lists of orders that staff narrows down: each has an index that is in the order of the list.
CREATE INDEX orders_store_recent ON orders (store_id, id);
CREATE INDEX orders_fulfilment ON orders (fulfilment, status, id);
CREATE INDEX orders_code ON orders (pickup_code, id);
CREATE INDEX order_lines_product ON order_lines (product_id, order_id);
CREATE INDEX users_nickname ON users (nickname, id);
CREATE INDEX users_phone_recent ON users (phone_hash, id);

-- What staff is told at once. The sequence's row is changed by whoever adds an entry, so entries become visible in
-- the order of their numbers, and whoever has read up to one has missed none below it.
CREATE TABLE feed_sequence (
    id BIGINT NOT NULL PRIMARY KEY,
    latest BIGINT NOT NULL
);
INSERT INTO feed_sequence (id, latest) VALUES (1, 0);
CREATE TABLE feed_entries (
    seq BIGINT NOT NULL PRIMARY KEY,
    kind VARCHAR(32) NOT NULL,
    order_id VARCHAR(32) NOT NULL,
    store_id VARCHAR(32) NOT NULL,
    fulfilment VARCHAR(16) NOT NULL,
    refund_id VARCHAR(32),
    amount_minor BIGINT NOT NULL,
    currency VARCHAR(3) NOT NULL,
    at_ms BIGINT NOT NULL
);
