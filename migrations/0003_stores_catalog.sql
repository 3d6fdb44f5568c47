-- Stores, what is sold, what each store sells, and its stock.

CREATE TABLE stores (
    id VARCHAR(32) NOT NULL PRIMARY KEY,
    kind VARCHAR(16) NOT NULL,
    name VARCHAR(64) NOT NULL,
    phone VARCHAR(32) NOT NULL,
    province VARCHAR(32) NOT NULL,
    city VARCHAR(32) NOT NULL,
    district VARCHAR(32) NOT NULL,
    address VARCHAR(200) NOT NULL,
    lat DOUBLE NOT NULL,
    lng DOUBLE NOT NULL,
    time_zone VARCHAR(64) NOT NULL,
    hours_json TEXT NOT NULL,
    freight_minor BIGINT NOT NULL,
    free_freight_from_minor BIGINT,
    currency VARCHAR(8) NOT NULL,
    scene VARCHAR(32) NOT NULL,
    image VARCHAR(500),
    paused_ms BIGINT,
    version BIGINT NOT NULL,
    created_ms BIGINT NOT NULL,
    updated_ms BIGINT NOT NULL
);
CREATE UNIQUE INDEX stores_scene ON stores (scene);

-- One sequence for the versions of all stores: the newest version is the version of the whole list.
CREATE TABLE store_versions (
    id BIGINT NOT NULL PRIMARY KEY,
    latest BIGINT NOT NULL
);
INSERT INTO store_versions (id, latest) VALUES (1, 0);

CREATE TABLE products (
    id VARCHAR(32) NOT NULL PRIMARY KEY,
    name VARCHAR(100) NOT NULL,
    category VARCHAR(32) NOT NULL,
    summary VARCHAR(200) NOT NULL,
    image VARCHAR(500),
    search_text VARCHAR(400) NOT NULL,
    archived_ms BIGINT,
    version BIGINT NOT NULL,
    created_ms BIGINT NOT NULL,
    updated_ms BIGINT NOT NULL,
    description TEXT NOT NULL
);
CREATE INDEX products_category ON products (category, id);

CREATE TABLE skus (
    id VARCHAR(32) NOT NULL PRIMARY KEY,
    product_id VARCHAR(32) NOT NULL,
    name VARCHAR(64) NOT NULL,
    barcode VARCHAR(14),
    image VARCHAR(500),
    version BIGINT NOT NULL,
    created_ms BIGINT NOT NULL,
    updated_ms BIGINT NOT NULL
);
CREATE INDEX skus_product ON skus (product_id, id);
CREATE UNIQUE INDEX skus_barcode ON skus (barcode);

CREATE TABLE store_skus (
    store_id VARCHAR(32) NOT NULL,
    sku_id VARCHAR(32) NOT NULL,
    price_minor BIGINT NOT NULL,
    on_sale_ms BIGINT,
    version BIGINT NOT NULL,
    updated_ms BIGINT NOT NULL,
    PRIMARY KEY (store_id, sku_id)
);
CREATE INDEX store_skus_sku ON store_skus (sku_id, store_id);

CREATE TABLE stock (
    store_id VARCHAR(32) NOT NULL,
    sku_id VARCHAR(32) NOT NULL,
    available BIGINT NOT NULL,
    locked BIGINT NOT NULL,
    sold BIGINT NOT NULL,
    supplied BIGINT NOT NULL,
    PRIMARY KEY (store_id, sku_id)
);

CREATE TABLE supply_moves (
    id VARCHAR(32) NOT NULL PRIMARY KEY,
    store_id VARCHAR(32) NOT NULL,
    sku_id VARCHAR(32) NOT NULL,
    quantity BIGINT NOT NULL,
    kind VARCHAR(16) NOT NULL,
    reason VARCHAR(200) NOT NULL,
    actor_kind VARCHAR(16) NOT NULL,
    actor_id VARCHAR(64) NOT NULL,
    at_ms BIGINT NOT NULL
);
CREATE INDEX supply_moves_stock ON supply_moves (store_id, sku_id, id);

CREATE TABLE stock_locks (
    order_id VARCHAR(32) NOT NULL,
    line_id VARCHAR(32) NOT NULL,
    store_id VARCHAR(32) NOT NULL,
    sku_id VARCHAR(32) NOT NULL,
    quantity BIGINT NOT NULL,
    restocked BIGINT NOT NULL,
    state VARCHAR(16) NOT NULL,
    PRIMARY KEY (order_id, line_id)
);
CREATE UNIQUE INDEX stock_locks_line ON stock_locks (line_id);
CREATE INDEX stock_locks_stock ON stock_locks (store_id, sku_id, state);
