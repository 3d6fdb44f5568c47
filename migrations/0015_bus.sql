-- When an event that was sent should have its deliveries: the later of its due time and the moment it was sent.
ALTER TABLE outbox ADD COLUMN expected_ms BIGINT;
CREATE INDEX outbox_expected ON outbox (state, expected_ms, id);
