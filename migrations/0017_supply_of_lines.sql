-- What was supplied for the line of an order is taken back when nobody pays for it.
CREATE INDEX supply_moves_line ON supply_moves (line_id);
