-- Staff: one row that changes of owners queue behind, invitations, tries to sign in, what is known of a device.
CREATE TABLE staff_guard (
    id BIGINT NOT NULL PRIMARY KEY,
    guard BIGINT NOT NULL
);
INSERT INTO staff_guard (id, guard) VALUES (1, 0);

CREATE TABLE staff_invitations (
    id VARCHAR(32) NOT NULL PRIMARY KEY,
    -- The user name while the invitation can be accepted, null afterwards: one open invitation for each name.
    open_for VARCHAR(64),
    user_name VARCHAR(64) NOT NULL,
    role VARCHAR(16) NOT NULL,
    -- JSON list of ids; null: all stores.
    store_ids TEXT,
    token_hash VARCHAR(64) NOT NULL,
    invited_by VARCHAR(32) NOT NULL,
    created_ms BIGINT NOT NULL,
    expires_ms BIGINT NOT NULL,
    ended_ms BIGINT
);
CREATE UNIQUE INDEX staff_invitations_token ON staff_invitations (token_hash);
CREATE UNIQUE INDEX staff_invitations_open ON staff_invitations (open_for);

-- Tries since the last success, by the keyed hash of a user name, a device, or a member who changes a password.
CREATE TABLE sign_in_tries (
    counted VARCHAR(64) NOT NULL PRIMARY KEY,
    tries BIGINT NOT NULL,
    since_ms BIGINT NOT NULL
);
CREATE INDEX sign_in_tries_age ON sign_in_tries (since_ms);

ALTER TABLE staff_sessions ADD COLUMN agent VARCHAR(200);
ALTER TABLE staff_sessions ADD COLUMN end_reason VARCHAR(16);

CREATE INDEX audit_actor ON audit (actor_id, id);
CREATE INDEX audit_operation ON audit (operation, id);
CREATE INDEX audit_time ON audit (at_ms);

-- What each try of a delivery came to, the last ones of each.
CREATE TABLE delivery_tries (
    id VARCHAR(32) NOT NULL PRIMARY KEY,
    event_id VARCHAR(32) NOT NULL,
    subscription VARCHAR(64) NOT NULL,
    at_ms BIGINT NOT NULL,
    node VARCHAR(64) NOT NULL,
    error TEXT NOT NULL
);
CREATE INDEX delivery_tries_delivery ON delivery_tries (event_id, subscription, id);

-- Everything that happened under one request id.
ALTER TABLE inbox ADD COLUMN request_id VARCHAR(64);
CREATE INDEX inbox_request ON inbox (request_id);
CREATE INDEX outbox_request ON outbox (request_id);
CREATE INDEX order_timeline_request ON order_timeline (request_id);
