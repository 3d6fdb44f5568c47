-- Payment attempts, and a record for every payment that arrived.

CREATE TABLE payment_attempts (
    id VARCHAR(32) NOT NULL PRIMARY KEY,
    order_id VARCHAR(32) NOT NULL,
    user_id VARCHAR(32) NOT NULL,
    provider VARCHAR(16) NOT NULL,
    status VARCHAR(16) NOT NULL,
    out_trade_no VARCHAR(32) NOT NULL,
    appid VARCHAR(32) NOT NULL,
    mchid VARCHAR(32) NOT NULL,
    openid VARCHAR(128) NOT NULL,
    amount_minor BIGINT NOT NULL,
    currency VARCHAR(3) NOT NULL,
    time_expire_ms BIGINT NOT NULL,
    request_body TEXT NOT NULL,
    prepay_id VARCHAR(64),
    prepaid_ms BIGINT,
    transaction_id VARCHAR(64),
    paid_ms BIGINT,
    failure VARCHAR(200),
    created_ms BIGINT NOT NULL,
    closed_ms BIGINT,
    step BIGINT NOT NULL,
    next_ms BIGINT,
    lease_until_ms BIGINT NOT NULL
);
CREATE UNIQUE INDEX payment_attempts_number ON payment_attempts (mchid, out_trade_no);
CREATE INDEX payment_attempts_order ON payment_attempts (order_id, id);
CREATE INDEX payment_attempts_due ON payment_attempts (next_ms);
CREATE INDEX payment_attempts_transaction ON payment_attempts (transaction_id);

CREATE TABLE payment_records (
    attempt_id VARCHAR(32) NOT NULL PRIMARY KEY,
    order_id VARCHAR(32) NOT NULL,
    kind VARCHAR(16) NOT NULL,
    mchid VARCHAR(32) NOT NULL,
    transaction_id VARCHAR(64) NOT NULL,
    amount_minor BIGINT NOT NULL,
    payer_minor BIGINT,
    currency VARCHAR(3) NOT NULL,
    paid_ms BIGINT NOT NULL,
    recorded_ms BIGINT NOT NULL
);
CREATE UNIQUE INDEX payment_records_transaction ON payment_records (mchid, transaction_id);
CREATE INDEX payment_records_order ON payment_records (order_id);
