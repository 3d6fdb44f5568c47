-- Refunds, what they take from which line, and how they were submitted to the channel.

CREATE TABLE refunds (
    id VARCHAR(32) NOT NULL PRIMARY KEY,
    order_id VARCHAR(32) NOT NULL,
    user_id VARCHAR(32) NOT NULL,
    attempt_id VARCHAR(32),
    kind VARCHAR(16) NOT NULL,
    status VARCHAR(16) NOT NULL,
    cause VARCHAR(64),
    fault VARCHAR(16) NOT NULL,
    reason VARCHAR(200) NOT NULL,
    photos TEXT NOT NULL,
    amount_minor BIGINT NOT NULL,
    freight_minor BIGINT NOT NULL,
    currency VARCHAR(3) NOT NULL,
    whole BIGINT,
    return_coupon BIGINT,
    compensation_template VARCHAR(32),
    note VARCHAR(200) NOT NULL,
    requested_ms BIGINT NOT NULL,
    approved_ms BIGINT,
    ended_ms BIGINT,
    closed_times BIGINT NOT NULL,
    step BIGINT NOT NULL,
    next_ms BIGINT,
    lease_until_ms BIGINT NOT NULL
);
CREATE UNIQUE INDEX refunds_cause ON refunds (cause);
CREATE INDEX refunds_order ON refunds (order_id, id);
CREATE INDEX refunds_status ON refunds (status, id);
CREATE INDEX refunds_due ON refunds (next_ms);

CREATE TABLE refund_lines (
    refund_id VARCHAR(32) NOT NULL,
    line_id VARCHAR(32) NOT NULL,
    cancel_quantity BIGINT NOT NULL,
    return_quantity BIGINT NOT NULL,
    sellable_quantity BIGINT NOT NULL,
    amount_minor BIGINT NOT NULL,
    PRIMARY KEY (refund_id, line_id)
);

CREATE TABLE refund_submissions (
    id VARCHAR(32) NOT NULL PRIMARY KEY,
    attempt_id VARCHAR(32) NOT NULL,
    transaction_id VARCHAR(64) NOT NULL,
    out_refund_no VARCHAR(64) NOT NULL,
    amount_minor BIGINT NOT NULL,
    total_minor BIGINT NOT NULL,
    currency VARCHAR(3) NOT NULL,
    channel_refund_id VARCHAR(64),
    outcome VARCHAR(16),
    created_ms BIGINT NOT NULL
);
CREATE UNIQUE INDEX refund_submissions_number ON refund_submissions (out_refund_no);
CREATE INDEX refund_submissions_attempt ON refund_submissions (attempt_id, created_ms);

CREATE TABLE refund_submission_parts (
    submission_id VARCHAR(32) NOT NULL,
    refund_id VARCHAR(32) NOT NULL,
    amount_minor BIGINT NOT NULL,
    PRIMARY KEY (submission_id, refund_id)
);
CREATE INDEX refund_submission_parts_refund ON refund_submission_parts (refund_id, submission_id);
