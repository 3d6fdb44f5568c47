-- Coupon templates, coupons with every move they made, and carts.

CREATE TABLE coupon_templates (
    id VARCHAR(32) NOT NULL PRIMARY KEY,
    name VARCHAR(64) NOT NULL,
    description VARCHAR(500) NOT NULL,
    -- AMOUNT (amount_minor) or PERCENT (off_basis_points, cap_minor).
    benefit VARCHAR(16) NOT NULL,
    amount_minor BIGINT,
    off_basis_points BIGINT,
    cap_minor BIGINT,
    threshold_minor BIGINT NOT NULL,
    currency VARCHAR(3) NOT NULL,
    -- JSON lists of ids; null: all.
    sku_ids TEXT,
    store_ids TEXT,
    -- CLAIM: people take it themselves; GRANT: only the system and the staff give it.
    issue VARCHAR(16) NOT NULL,
    total BIGINT NOT NULL,
    remaining BIGINT NOT NULL,
    limit_per_user BIGINT NOT NULL,
    -- Either days from the grant, or one window for all.
    valid_days BIGINT,
    valid_from_ms BIGINT,
    valid_until_ms BIGINT,
    stack_group VARCHAR(32) NOT NULL,
    stacking VARCHAR(16) NOT NULL,
    created_ms BIGINT NOT NULL,
    paused_ms BIGINT,
    version BIGINT NOT NULL
);
CREATE INDEX coupon_templates_issue ON coupon_templates (issue, id);

CREATE TABLE coupons (
    id VARCHAR(32) NOT NULL PRIMARY KEY,
    template_id VARCHAR(32) NOT NULL,
    user_id VARCHAR(32) NOT NULL,
    status VARCHAR(16) NOT NULL,
    -- The how many-th that this user claimed of the template; null when it was granted.
    seq BIGINT,
    source VARCHAR(16) NOT NULL,
    source_id VARCHAR(64) NOT NULL,
    -- Set while LOCKED or USED.
    order_id VARCHAR(32),
    valid_from_ms BIGINT NOT NULL,
    valid_until_ms BIGINT NOT NULL,
    -- Voided while an order held it: it becomes VOID when it comes back.
    void_when_back_ms BIGINT,
    created_ms BIGINT NOT NULL
);
CREATE UNIQUE INDEX coupons_cause ON coupons (source, source_id);
CREATE UNIQUE INDEX coupons_claim ON coupons (template_id, user_id, seq);
CREATE INDEX coupons_user ON coupons (user_id, id);
CREATE INDEX coupons_usable ON coupons (user_id, status, valid_until_ms);
CREATE INDEX coupons_expiry ON coupons (status, valid_until_ms);
CREATE INDEX coupons_order ON coupons (order_id);

CREATE TABLE coupon_moves (
    -- What made the move: the same cause never makes it twice.
    cause VARCHAR(96) NOT NULL PRIMARY KEY,
    coupon_id VARCHAR(32) NOT NULL,
    order_id VARCHAR(32),
    kind VARCHAR(16) NOT NULL,
    from_status VARCHAR(16),
    to_status VARCHAR(16) NOT NULL,
    at_ms BIGINT NOT NULL
);
CREATE INDEX coupon_moves_coupon ON coupon_moves (coupon_id, at_ms);
CREATE INDEX coupon_moves_order ON coupon_moves (order_id, kind);

CREATE TABLE cart_lines (
    user_id VARCHAR(32) NOT NULL,
    store_id VARCHAR(32) NOT NULL,
    sku_id VARCHAR(32) NOT NULL,
    quantity BIGINT NOT NULL,
    -- The price when the line was last set: the cart says when it has changed since.
    seen_price_minor BIGINT NOT NULL,
    added_ms BIGINT NOT NULL,
    PRIMARY KEY (user_id, store_id, sku_id)
);
