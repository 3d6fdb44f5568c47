-- After-sale: reasons and photos of refunds, goods that come back, what two people decide, and refunds that
-- were made in the channel's own console.

ALTER TABLE refunds ADD COLUMN reason_code VARCHAR(24);
-- While AWAITING_RETURN: until when the goods must be on their way.
ALTER TABLE refunds ADD COLUMN return_before_ms BIGINT;
ALTER TABLE refunds ADD COLUMN return_carrier VARCHAR(64);
ALTER TABLE refunds ADD COLUMN return_tracking_no VARCHAR(64);
ALTER TABLE refunds ADD COLUMN return_sent_ms BIGINT;
-- The channel's number that settled the refund, where the shop did not submit it.
ALTER TABLE refunds ADD COLUMN external_no VARCHAR(64);
CREATE UNIQUE INDEX refunds_external ON refunds (external_no);
CREATE INDEX refunds_return ON refunds (status, return_before_ms);
CREATE INDEX refunds_attempt ON refunds (attempt_id, status);

-- What the channel is told; a repeat is the same to the letter.
ALTER TABLE refund_submissions ADD COLUMN reason VARCHAR(200);
-- When the channel's success of the submission was settled for this refund.
ALTER TABLE refund_submission_parts ADD COLUMN settled_ms BIGINT;
UPDATE refund_submission_parts SET settled_ms = 0
    WHERE submission_id IN (SELECT id FROM refund_submissions WHERE outcome = 'SUCCESS');

-- A mismatched payment that a person has looked at, and that stays what it is.
ALTER TABLE payment_attempts ADD COLUMN reviewed_ms BIGINT;
CREATE INDEX payment_records_kind ON payment_records (kind, attempt_id);

CREATE TABLE refund_photos (
    id VARCHAR(32) NOT NULL PRIMARY KEY,
    -- Who uploaded it: a customer or a staff member.
    owner_id VARCHAR(32) NOT NULL,
    -- The refund that it belongs to; null: not used yet.
    refund_id VARCHAR(32),
    media_type VARCHAR(32) NOT NULL,
    size_bytes BIGINT NOT NULL,
    created_ms BIGINT NOT NULL,
    -- Base64.
    content MEDIUMTEXT NOT NULL
);
CREATE INDEX refund_photos_refund ON refund_photos (refund_id, created_ms);
CREATE INDEX refund_photos_owner ON refund_photos (owner_id, refund_id);

-- Money that the channel says was refunded, and that fits no refund here.
CREATE TABLE refund_discrepancies (
    id VARCHAR(32) NOT NULL PRIMARY KEY,
    external_no VARCHAR(64) NOT NULL,
    order_id VARCHAR(32) NOT NULL,
    attempt_id VARCHAR(32) NOT NULL,
    amount_minor BIGINT NOT NULL,
    currency VARCHAR(3) NOT NULL,
    why VARCHAR(300) NOT NULL,
    -- The channel's news, as JSON.
    news TEXT NOT NULL,
    tries BIGINT NOT NULL,
    found_ms BIGINT NOT NULL,
    ended_ms BIGINT,
    note VARCHAR(200)
);
CREATE UNIQUE INDEX refund_discrepancies_once ON refund_discrepancies (external_no);
CREATE INDEX refund_discrepancies_open ON refund_discrepancies (ended_ms, id);

-- What one person proposes and another confirms.
CREATE TABLE proposals (
    id VARCHAR(32) NOT NULL PRIMARY KEY,
    kind VARCHAR(24) NOT NULL,
    object VARCHAR(64) NOT NULL,
    -- Of which store that is.
    store_id VARCHAR(32) NOT NULL,
    detail TEXT NOT NULL,
    state VARCHAR(16) NOT NULL,
    -- The object while the proposal waits: one waits for an object at a time.
    open_object VARCHAR(64),
    proposed_by VARCHAR(64) NOT NULL,
    proposed_ms BIGINT NOT NULL,
    decided_by VARCHAR(64),
    decided_ms BIGINT,
    reason VARCHAR(200)
);
CREATE UNIQUE INDEX proposals_open ON proposals (open_object);
CREATE INDEX proposals_object ON proposals (object, id);
CREATE INDEX proposals_state ON proposals (state, id);
