-- Orders, their lines, and what happened to them.

CREATE TABLE orders (
    id VARCHAR(32) NOT NULL PRIMARY KEY,
    user_id VARCHAR(32) NOT NULL,
    store_id VARCHAR(32) NOT NULL,
    fulfilment VARCHAR(16) NOT NULL,
    status VARCHAR(24) NOT NULL,
    close_reason VARCHAR(16),
    pay_status VARCHAR(16) NOT NULL,
    refund_status VARCHAR(16) NOT NULL,
    currency VARCHAR(3) NOT NULL,
    goods_minor BIGINT NOT NULL,
    discount_minor BIGINT NOT NULL,
    freight_minor BIGINT NOT NULL,
    tax_minor BIGINT NOT NULL,
    total_minor BIGINT NOT NULL,
    wallet_minor BIGINT NOT NULL,
    payable_minor BIGINT NOT NULL,
    paid_minor BIGINT NOT NULL,
    refunded_minor BIGINT NOT NULL,
    refunding_minor BIGINT NOT NULL,
    freight_refunded_minor BIGINT NOT NULL,
    freight_refunding_minor BIGINT NOT NULL,
    coupon_id VARCHAR(32),
    note VARCHAR(200) NOT NULL,
    address_sealed TEXT,
    phone_hash VARCHAR(64),
    quote_nonce VARCHAR(64) NOT NULL,
    open_attempt VARCHAR(32),
    open_refunds BIGINT NOT NULL,
    compensation_refund VARCHAR(32),
    ship_hold_ms BIGINT,
    placed_ms BIGINT NOT NULL,
    pay_before_ms BIGINT NOT NULL,
    paid_ms BIGINT,
    closed_ms BIGINT,
    shipped_ms BIGINT,
    completed_ms BIGINT,
    finished_ms BIGINT,
    complete_at_ms BIGINT,
    complete_due_ms BIGINT,
    finish_at_ms BIGINT,
    finish_due_ms BIGINT,
    version BIGINT NOT NULL,
    event_seq BIGINT NOT NULL,
    guard BIGINT NOT NULL
);
CREATE UNIQUE INDEX orders_quote ON orders (quote_nonce);
CREATE INDEX orders_user ON orders (user_id, id);
CREATE INDEX orders_user_status ON orders (user_id, status, id);
CREATE INDEX orders_store ON orders (store_id, status, id);
CREATE INDEX orders_deadline ON orders (status, pay_before_ms);
CREATE INDEX orders_complete ON orders (status, complete_at_ms);
CREATE INDEX orders_finish ON orders (status, finish_at_ms);
CREATE INDEX orders_phone ON orders (phone_hash, id);

CREATE TABLE order_lines (
    id VARCHAR(32) NOT NULL PRIMARY KEY,
    order_id VARCHAR(32) NOT NULL,
    position BIGINT NOT NULL,
    product_id VARCHAR(32) NOT NULL,
    sku_id VARCHAR(32) NOT NULL,
    product_name VARCHAR(120) NOT NULL,
    sku_name VARCHAR(120) NOT NULL,
    image VARCHAR(512),
    unit_price_minor BIGINT NOT NULL,
    quantity BIGINT NOT NULL,
    gross_minor BIGINT NOT NULL,
    net_minor BIGINT NOT NULL,
    tax_minor BIGINT NOT NULL,
    shares TEXT NOT NULL,
    shipped BIGINT NOT NULL,
    cancelled BIGINT NOT NULL,
    cancel_locked BIGINT NOT NULL,
    returned BIGINT NOT NULL,
    return_locked BIGINT NOT NULL,
    refunded_minor BIGINT NOT NULL,
    refunding_minor BIGINT NOT NULL
);
CREATE INDEX order_lines_order ON order_lines (order_id, position);
CREATE INDEX order_lines_sku ON order_lines (sku_id, order_id);

CREATE TABLE order_timeline (
    order_id VARCHAR(32) NOT NULL,
    seq BIGINT NOT NULL,
    at_ms BIGINT NOT NULL,
    actor_kind VARCHAR(16) NOT NULL,
    actor_id VARCHAR(64) NOT NULL,
    event VARCHAR(32) NOT NULL,
    from_status VARCHAR(24),
    to_status VARCHAR(24) NOT NULL,
    detail TEXT NOT NULL,
    request_id VARCHAR(64) NOT NULL,
    PRIMARY KEY (order_id, seq)
);
