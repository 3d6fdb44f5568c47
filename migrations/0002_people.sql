-- People: staff and customers with their sessions, and addresses.

CREATE TABLE staff (
    id VARCHAR(32) NOT NULL PRIMARY KEY,
    user_name VARCHAR(64) NOT NULL,
    name VARCHAR(64) NOT NULL,
    password_hash VARCHAR(255) NOT NULL,
    role VARCHAR(16) NOT NULL,
    created_ms BIGINT NOT NULL,
    signed_in_ms BIGINT,
    disabled_ms BIGINT
);
CREATE UNIQUE INDEX staff_user_name ON staff (user_name);

CREATE TABLE staff_stores (
    staff_id VARCHAR(32) NOT NULL,
    store_id VARCHAR(32) NOT NULL,
    PRIMARY KEY (staff_id, store_id)
);

CREATE TABLE staff_sessions (
    id VARCHAR(32) NOT NULL PRIMARY KEY,
    staff_id VARCHAR(32) NOT NULL,
    token_hash VARCHAR(64) NOT NULL,
    created_ms BIGINT NOT NULL,
    expires_ms BIGINT NOT NULL,
    ended_ms BIGINT
);
CREATE UNIQUE INDEX staff_sessions_token ON staff_sessions (token_hash);
CREATE INDEX staff_sessions_staff ON staff_sessions (staff_id, created_ms);

CREATE TABLE users (
    id VARCHAR(32) NOT NULL PRIMARY KEY,
    nickname VARCHAR(64) NOT NULL,
    avatar VARCHAR(512),
    phone_sealed VARCHAR(255),
    phone_hash VARCHAR(64),
    phone_masked VARCHAR(32),
    created_ms BIGINT NOT NULL
);
CREATE INDEX users_phone ON users (phone_hash);

CREATE TABLE user_openids (
    appid VARCHAR(64) NOT NULL,
    openid VARCHAR(64) NOT NULL,
    user_id VARCHAR(32) NOT NULL,
    unionid VARCHAR(64),
    session_key_sealed VARCHAR(255) NOT NULL,
    signed_in_ms BIGINT NOT NULL,
    created_ms BIGINT NOT NULL,
    PRIMARY KEY (appid, openid)
);
CREATE INDEX user_openids_user ON user_openids (user_id, appid);
CREATE INDEX user_openids_unionid ON user_openids (unionid);

-- family_hash stays the same while refresh tokens rotate: by it a token that was used before is recognised.
CREATE TABLE sessions (
    id VARCHAR(32) NOT NULL PRIMARY KEY,
    user_id VARCHAR(32) NOT NULL,
    appid VARCHAR(64) NOT NULL,
    token_hash VARCHAR(64) NOT NULL,
    family_hash VARCHAR(64) NOT NULL,
    refresh_hash VARCHAR(64) NOT NULL,
    created_ms BIGINT NOT NULL,
    expires_ms BIGINT NOT NULL,
    refresh_expires_ms BIGINT NOT NULL,
    ended_ms BIGINT,
    end_reason VARCHAR(16)
);
CREATE UNIQUE INDEX sessions_token ON sessions (token_hash);
CREATE UNIQUE INDEX sessions_family ON sessions (family_hash);
CREATE UNIQUE INDEX sessions_refresh ON sessions (refresh_hash);
CREATE INDEX sessions_user ON sessions (user_id, created_ms);

-- One row for each person who has addresses; every change bumps its guard first, so changes come one after another.
CREATE TABLE address_books (
    user_id VARCHAR(32) NOT NULL PRIMARY KEY,
    guard BIGINT NOT NULL
);

-- default_of is the owner on the default address and null on the others: at most one default, by its key.
CREATE TABLE addresses (
    id VARCHAR(32) NOT NULL PRIMARY KEY,
    user_id VARCHAR(32) NOT NULL,
    default_of VARCHAR(32),
    recipient VARCHAR(64) NOT NULL,
    phone_sealed VARCHAR(255) NOT NULL,
    province VARCHAR(64) NOT NULL,
    city VARCHAR(64) NOT NULL,
    district VARCHAR(64) NOT NULL,
    detail VARCHAR(255) NOT NULL,
    postal_code VARCHAR(16),
    created_ms BIGINT NOT NULL,
    updated_ms BIGINT NOT NULL
);
CREATE INDEX addresses_user ON addresses (user_id, id);
CREATE UNIQUE INDEX addresses_default ON addresses (default_of);
