-- What happens in a store: orders that are fetched there or paid beside the shelf, prices that staff changes,
-- goods that are sold out, stores that are paused for a while.

-- Shown to the customer from payment on; it stays when the order has ended.
ALTER TABLE orders ADD COLUMN pickup_code VARCHAR(16);
-- The same while it opens something; null once the order has ended.
ALTER TABLE orders ADD COLUMN pickup_code_open VARCHAR(16);
ALTER TABLE orders ADD COLUMN ready_ms BIGINT;
-- When the next reminder to fetch it is due.
ALTER TABLE orders ADD COLUMN pickup_next_ms BIGINT;
-- Why staff cancelled it, in words that the customer reads.
ALTER TABLE orders ADD COLUMN close_note VARCHAR(200);
-- JSON: a new price that waits until the open payment is closed at the channel.
ALTER TABLE orders ADD COLUMN pending_reprice TEXT;
CREATE UNIQUE INDEX orders_pickup_open ON orders (store_id, pickup_code_open);
CREATE INDEX orders_pickup_code ON orders (store_id, pickup_code);
CREATE INDEX orders_pickup_due ON orders (status, pickup_next_ms);

-- Codes that a staff member typed at a store since `since_ms` and that opened nothing.
CREATE TABLE pickup_tries (
    staff_id VARCHAR(32) NOT NULL,
    store_id VARCHAR(32) NOT NULL,
    tries BIGINT NOT NULL,
    since_ms BIGINT NOT NULL,
    PRIMARY KEY (staff_id, store_id)
);

-- The order line for which a discrepancy was supplied.
ALTER TABLE supply_moves ADD COLUMN line_id VARCHAR(32);
CREATE INDEX supply_moves_kind ON supply_moves (store_id, kind, id);

-- Sold out by hand, whatever the stock says.
ALTER TABLE store_skus ADD COLUMN sold_out_ms BIGINT;

-- A pause that ends by itself; null: it lasts until somebody ends it.
ALTER TABLE stores ADD COLUMN paused_until_ms BIGINT;
