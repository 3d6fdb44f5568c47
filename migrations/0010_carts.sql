-- One row for each cart that ever had a line. Adding a line bumps its guard first, so lines are added one after another
-- and the bound of a cart holds.
CREATE TABLE carts (
    user_id VARCHAR(32) NOT NULL,
    store_id VARCHAR(32) NOT NULL,
    guard BIGINT NOT NULL,
    PRIMARY KEY (user_id, store_id)
);
