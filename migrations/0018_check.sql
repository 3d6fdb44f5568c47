-- What each line has refunded is summed by `minimall check`: without this every line would read every refund.

CREATE INDEX refund_lines_line ON refund_lines (line_id);
