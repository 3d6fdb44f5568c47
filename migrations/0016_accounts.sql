-- Customers delete their account. Whatever leaves something of a customer behind bumps the guard of their row first,
-- as long as it is not deleted: so it comes wholly before the deletion, or not at all.
ALTER TABLE users ADD COLUMN guard BIGINT NOT NULL DEFAULT 0;
ALTER TABLE users ADD COLUMN deleted_ms BIGINT;
-- Set where whoever signed in for the first time had an account before, and deleted it.
ALTER TABLE users ADD COLUMN came_back_ms BIGINT;
CREATE INDEX users_deleted ON users (deleted_ms);

-- Openids of deleted accounts, as keyed hashes: what a new customer gets is got once.
CREATE TABLE former_openids (
    openid_hash VARCHAR(64) NOT NULL PRIMARY KEY,
    deleted_ms BIGINT NOT NULL
);
