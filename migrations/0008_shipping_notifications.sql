-- Parcels, what WeChat was told about them, and what customers are told.

CREATE TABLE parcels (
    id VARCHAR(32) NOT NULL PRIMARY KEY,
    order_id VARCHAR(32) NOT NULL,
    -- WeChat's id of the carrier, and the name that it had; the id is empty for the store's own courier.
    carrier VARCHAR(128) NOT NULL,
    carrier_name VARCHAR(128) NOT NULL,
    tracking_no VARCHAR(128) NOT NULL,
    shipped_ms BIGINT NOT NULL
);
CREATE INDEX parcels_order ON parcels (order_id, id);
CREATE INDEX parcels_tracking ON parcels (tracking_no);

CREATE TABLE parcel_lines (
    parcel_id VARCHAR(32) NOT NULL,
    line_id VARCHAR(32) NOT NULL,
    quantity BIGINT NOT NULL,
    PRIMARY KEY (parcel_id, line_id)
);
CREATE INDEX parcel_lines_line ON parcel_lines (line_id);

CREATE TABLE shipping_uploads (
    order_id VARCHAR(32) NOT NULL PRIMARY KEY,
    state VARCHAR(16) NOT NULL,
    paid_ms BIGINT NOT NULL,
    -- Counts how often there was something new to say; an answer is for the count that it was asked with.
    wanted BIGINT NOT NULL,
    -- 1: an upload may have said that more parcels come.
    split BIGINT NOT NULL,
    -- 1: WeChat has accepted that everything is on its way.
    all_delivered BIGINT NOT NULL,
    step BIGINT NOT NULL,
    next_ms BIGINT,
    error VARCHAR(300),
    accepted_ms BIGINT
);
CREATE INDEX shipping_uploads_due ON shipping_uploads (next_ms);

CREATE TABLE subscribe_credits (
    user_id VARCHAR(32) NOT NULL,
    template_id VARCHAR(64) NOT NULL,
    credits BIGINT NOT NULL,
    updated_ms BIGINT NOT NULL,
    PRIMARY KEY (user_id, template_id)
);

CREATE TABLE notices (
    id VARCHAR(32) NOT NULL PRIMARY KEY,
    user_id VARCHAR(32) NOT NULL,
    event_id VARCHAR(32) NOT NULL,
    kind VARCHAR(24) NOT NULL,
    title VARCHAR(64) NOT NULL,
    body VARCHAR(500) NOT NULL,
    order_id VARCHAR(32) NOT NULL,
    created_ms BIGINT NOT NULL,
    read_ms BIGINT
);
CREATE UNIQUE INDEX notices_event ON notices (event_id, user_id);
CREATE INDEX notices_user ON notices (user_id, id);

-- A notice that also goes out through WeChat, in the order of `position` among those of its order.
CREATE TABLE messages (
    notice_id VARCHAR(32) NOT NULL PRIMARY KEY,
    user_id VARCHAR(32) NOT NULL,
    order_id VARCHAR(32) NOT NULL,
    position BIGINT NOT NULL,
    kind VARCHAR(24) NOT NULL,
    template_id VARCHAR(64) NOT NULL,
    -- JSON list of the template's keys and their values.
    message_values TEXT NOT NULL,
    state VARCHAR(16) NOT NULL,
    -- 1: a credit of the user is spent for it.
    credit_spent BIGINT NOT NULL,
    step BIGINT NOT NULL,
    next_ms BIGINT,
    errcode BIGINT,
    error VARCHAR(300),
    created_ms BIGINT NOT NULL,
    ended_ms BIGINT
);
CREATE UNIQUE INDEX messages_order ON messages (order_id, position);
CREATE INDEX messages_due ON messages (next_ms);
