-- What every feature stands on: events, deliveries, inbox, idempotency, audit, alerts.

CREATE TABLE outbox (
    id VARCHAR(32) NOT NULL PRIMARY KEY,
    event VARCHAR(64) NOT NULL,
    topic VARCHAR(64) NOT NULL,
    kind VARCHAR(16) NOT NULL,
    fifo_key VARCHAR(64),
    seq BIGINT,
    due_ms BIGINT NOT NULL,
    state VARCHAR(16) NOT NULL,
    lease_until_ms BIGINT NOT NULL,
    schema_version BIGINT NOT NULL,
    request_id VARCHAR(64) NOT NULL,
    created_ms BIGINT NOT NULL,
    body MEDIUMTEXT NOT NULL
);
CREATE INDEX outbox_due ON outbox (state, due_ms, id);
CREATE INDEX outbox_fifo ON outbox (fifo_key, seq);

CREATE TABLE deliveries (
    event_id VARCHAR(32) NOT NULL,
    subscription VARCHAR(64) NOT NULL,
    state VARCHAR(16) NOT NULL,
    fifo_key VARCHAR(64),
    seq BIGINT,
    attempts BIGINT NOT NULL,
    next_ms BIGINT NOT NULL,
    due_ms BIGINT NOT NULL,
    done_ms BIGINT,
    error TEXT,
    PRIMARY KEY (event_id, subscription)
);
CREATE INDEX deliveries_due ON deliveries (state, next_ms);
CREATE INDEX deliveries_fifo ON deliveries (subscription, fifo_key, seq);

CREATE TABLE inbox (
    id VARCHAR(32) NOT NULL PRIMARY KEY,
    source VARCHAR(32) NOT NULL,
    external_id VARCHAR(128) NOT NULL,
    kind VARCHAR(32) NOT NULL,
    state VARCHAR(16) NOT NULL,
    attempts BIGINT NOT NULL,
    next_ms BIGINT NOT NULL,
    received_ms BIGINT NOT NULL,
    done_ms BIGINT,
    error TEXT,
    body MEDIUMTEXT NOT NULL
);
CREATE UNIQUE INDEX inbox_once ON inbox (source, external_id);
CREATE INDEX inbox_due ON inbox (state, next_ms);

CREATE TABLE idempotency (
    principal VARCHAR(64) NOT NULL,
    operation VARCHAR(64) NOT NULL,
    idem_key VARCHAR(128) NOT NULL,
    request_hash VARCHAR(64) NOT NULL,
    state VARCHAR(16) NOT NULL,
    lease_until_ms BIGINT NOT NULL,
    created_ms BIGINT NOT NULL,
    outcome MEDIUMTEXT NOT NULL,
    PRIMARY KEY (principal, operation, idem_key)
);
CREATE INDEX idempotency_age ON idempotency (created_ms);

CREATE TABLE audit (
    id VARCHAR(32) NOT NULL PRIMARY KEY,
    at_ms BIGINT NOT NULL,
    actor_kind VARCHAR(16) NOT NULL,
    actor_id VARCHAR(64) NOT NULL,
    operation VARCHAR(64) NOT NULL,
    object VARCHAR(64) NOT NULL,
    before_json TEXT,
    after_json TEXT,
    request_id VARCHAR(64) NOT NULL
);
CREATE INDEX audit_object ON audit (object, id);
CREATE INDEX audit_request ON audit (request_id);

CREATE TABLE alerts (
    id VARCHAR(32) NOT NULL PRIMARY KEY,
    kind VARCHAR(64) NOT NULL,
    object VARCHAR(64) NOT NULL,
    detail TEXT NOT NULL,
    opened_ms BIGINT NOT NULL,
    closed_ms BIGINT
);
CREATE UNIQUE INDEX alerts_once ON alerts (kind, object);
CREATE INDEX alerts_open ON alerts (closed_ms, id);
