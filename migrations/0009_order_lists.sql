-- The staff's list of orders by status, newest first, whatever the store.
CREATE INDEX orders_status ON orders (status, id);
