//! The statements that placing an order sends to the database, and nothing else: no prices, no JSON, no sealing, no
//! decisions. What they write is an order like any other, so that the invariants say whether anything is missing.

use minimall::kernel::{EventId, Id, OrderId, OrderLineId};
use minimall::platform::ctx::Ctx;
use sqlx::any::AnyArguments;
use sqlx::query::Query;
use sqlx::{Any, AnyConnection, Row};

use crate::support::copies::text_rows;

/// Who orders what.
#[derive(Clone)]
pub struct Wish {
    pub user: String,
    pub address: String,
    pub coupon: String,
}

/// A value that is bound.
#[derive(Clone)]
enum Value {
    Text(String),
    Number(i64),
    Null,
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

/// A statement with what is bound to it.
pub struct Statement {
    pub sql: &'static str,
    values: Vec<Value>,
}

macro_rules! statement {
    ($sql:literal $(, $value:expr)* $(,)?) => { Statement { sql: $sql, values: vec![$(Value::from($value)),*] } };
}

impl Statement {
    fn bound(&self) -> Query<'_, Any, AnyArguments> {
        self.values.iter().fold(sqlx::query(self.sql), |query, value| match value {
            Value::Text(text) => query.bind(text.clone()),
            Value::Number(number) => query.bind(*number),
            Value::Null => query.bind(None::<String>),
        })
    }

    pub fn reads(&self) -> bool {
        self.sql.starts_with("SELECT")
    }

    pub async fn run(&self, conn: &mut AnyConnection) -> Result<(), sqlx::Error> {
        if self.reads() {
            self.bound().fetch_all(conn).await?;
        } else {
            self.bound().execute(conn).await?;
        }
        Ok(())
    }
}

/// An order that was placed: what its rows say beside the ids.
pub struct Template {
    order: Columns,
    line: Columns,
    timeline: Columns,
    placed: Columns,
    deadline: Columns,
    request_hash: String,
}

/// A row, by its columns.
struct Columns(Vec<(String, Value)>);

impl Columns {
    async fn of(ctx: &Ctx, query: String) -> Self {
        let mut reader = ctx.db.reader().await.expect("a reader");
        let row = sqlx::query(sqlx::AssertSqlSafe(query)).fetch_one(&mut *reader).await.expect("the row");
        let value = |at: usize| match row.try_get::<Option<String>, _>(at) {
            Ok(Some(text)) => Value::Text(text),
            Ok(None) => Value::Null,
            Err(_) => row.try_get::<i64, _>(at).map_or(Value::Null, Value::Number),
        };
        let names = row.columns().iter().map(|column| sqlx::Column::name(column).to_owned());
        Self(names.enumerate().map(|(at, name)| (name, value(at))).collect())
    }

    fn get(&self, name: &str) -> Value {
        self.0.iter().find(|(column, _)| column == name).map_or(Value::Null, |(_, value)| value.clone())
    }

    fn text(&self, name: &str) -> String {
        match self.get(name) {
            Value::Text(text) => text,
            _ => String::new(),
        }
    }
}

impl Template {
    pub async fn of(ctx: &Ctx, order: &str) -> Self {
        let row = |table: &str, rest: &str| Columns::of(ctx, format!("SELECT * FROM {table} WHERE {rest}"));
        let of_order = format!("order_id = '{order}'");
        let event = |name: &str| format!("event = '{name}' AND body LIKE '%{order}%'");
        Self {
            order: row("orders", &format!("id = '{order}'")).await,
            line: row("order_lines", &of_order).await,
            timeline: row("order_timeline", &of_order).await,
            placed: row("outbox", &event("OrderPlaced")).await,
            deadline: row("outbox", &event("PaymentDeadline")).await,
            request_hash: text_rows(ctx, "SELECT request_hash FROM idempotency").await.remove(0),
        }
    }

    /// What is read before the transaction.
    pub fn before(&self, wish: &Wish, key: &str) -> Statement {
        let principal = format!("user:{}", wish.user);
        statement!(
            "SELECT request_hash, state, lease_until_ms, outcome FROM idempotency \
             WHERE principal = ? AND operation = ? AND idem_key = ?",
            principal.as_str(),
            "placeOrder",
            key,
        )
    }

    /// The statements of the transaction, between its beginning and its commit.
    pub fn statements(&self, ctx: &Ctx, wish: &Wish, key: &str) -> Vec<Statement> {
        let (order, line) = (ctx.new_id::<OrderId>(), ctx.new_id::<OrderLineId>());
        let (order, line) = (order.as_str(), line.as_str());
        let coupon = wish.coupon.as_str();
        let (user, nonce, now_ms) = (wish.user.as_str(), format!("limit-{key}"), ctx.clock.now_ms());
        let (nonce, principal) = (nonce.as_str(), format!("user:{user}"));
        let principal = principal.as_str();
        let store = self.order.text("store_id");
        let store = store.as_str();
        let sku = self.line.text("sku_id");
        let sku = sku.as_str();
        let template = CouponTemplate::new_user();
        let ours = |text: String| {
            text.replace(&self.order.text("id"), order).replace(&self.order.text("user_id"), user)
        };
        let event = |row: &Columns, id: EventId| {
            (id.as_str().to_owned(), ours(row.text("body")), row.text("request_id"))
        };
        let (placed_id, placed, request) = event(&self.placed, ctx.new_id());
        let (deadline_id, deadline, _) = event(&self.deadline, ctx.new_id());
        let of_order = |name: &str| self.order.get(name);
        let of_line = |name: &str| self.line.get(name);
        let find_store = || {
            statement!(
                "SELECT id, kind, name, phone, province, city, district, address, lat, lng, time_zone, hours_json, \
                 freight_minor, free_freight_from_minor, currency, scene, image, paused_ms, paused_until_ms, version, \
                 created_ms FROM stores WHERE id = ?",
                store,
            )
        };
        vec![
            statement!(
                "INSERT INTO idempotency (principal, operation, idem_key, request_hash, state, lease_until_ms, \
                 created_ms, outcome) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                principal,
                "placeOrder",
                key,
                self.request_hash.as_str(),
                "DONE",
                0,
                now_ms,
                "",
            ),
            statement!("UPDATE users SET guard = guard + 1 WHERE id = ? AND deleted_ms IS NULL", user),
            statement!("SELECT id, user_id FROM orders WHERE quote_nonce = ?", nonce),
            find_store(),
            statement!(
                "SELECT id, default_of, recipient, phone_sealed, province, city, district, detail, postal_code \
                 FROM addresses WHERE id = ? AND user_id = ?",
                wish.address.as_str(),
                user,
            ),
            find_store(),
            statement!(
                "SELECT o.sku_id, k.product_id, p.name AS product_name, k.name AS sku_name, \
                 COALESCE(k.image, p.image) AS image, k.barcode, o.price_minor, o.on_sale_ms, p.archived_ms, \
                 o.sold_out_ms, COALESCE(s.available, 0) AS available FROM store_skus o \
                 JOIN skus k ON k.id = o.sku_id JOIN products p ON p.id = k.product_id \
                 LEFT JOIN stock s ON s.store_id = o.store_id AND s.sku_id = o.sku_id WHERE o.store_id = ? \
                 AND o.sku_id IN (?)",
                store,
                sku,
            ),
            find_store(),
            statement!(
                "SELECT id, template_id, user_id, status, seq, source, source_id, order_id, valid_from_ms, \
                 valid_until_ms, void_when_back_ms, created_ms FROM coupons WHERE user_id = ? AND id IN (?)",
                user,
                coupon,
            ),
            statement!(
                "SELECT id, name, description, benefit, amount_minor, off_basis_points, cap_minor, threshold_minor, \
                 currency, sku_ids, store_ids, issue, total, remaining, limit_per_user, valid_days, valid_from_ms, \
                 valid_until_ms, stack_group, stacking, created_ms, paused_ms FROM coupon_templates WHERE id IN (?)",
                template.as_str(),
            ),
            statement!(
                "INSERT INTO orders (id, user_id, store_id, fulfilment, status, pay_status, refund_status, currency, \
                 goods_minor, discount_minor, freight_minor, tax_minor, total_minor, wallet_minor, payable_minor, \
                 paid_minor, refunded_minor, refunding_minor, freight_refunded_minor, freight_refunding_minor, \
                 coupon_id, note, address_sealed, phone_hash, quote_nonce, open_refunds, placed_ms, pay_before_ms, \
                 version, event_seq, guard) \
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, 0, 0, 0, 0, ?, ?, ?, ?, ?, 0, ?, ?, 1, 0, 0)",
                order,
                user,
                store,
                of_order("fulfilment"),
                of_order("status"),
                of_order("pay_status"),
                of_order("refund_status"),
                of_order("currency"),
                of_order("goods_minor"),
                of_order("discount_minor"),
                of_order("freight_minor"),
                of_order("tax_minor"),
                of_order("total_minor"),
                of_order("wallet_minor"),
                of_order("payable_minor"),
                coupon,
                of_order("note"),
                of_order("address_sealed"),
                of_order("phone_hash"),
                nonce,
                now_ms,
                of_order("pay_before_ms"),
            ),
            statement!(
                "INSERT INTO order_lines (id, order_id, position, product_id, sku_id, product_name, sku_name, image, \
                 unit_price_minor, quantity, gross_minor, net_minor, tax_minor, shares, shipped, cancelled, \
                 cancel_locked, returned, return_locked, refunded_minor, refunding_minor) \
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, 0, 0, 0, 0, 0, 0)",
                line,
                order,
                of_line("position"),
                of_line("product_id"),
                sku,
                of_line("product_name"),
                of_line("sku_name"),
                of_line("image"),
                of_line("unit_price_minor"),
                of_line("quantity"),
                of_line("gross_minor"),
                of_line("net_minor"),
                of_line("tax_minor"),
                of_line("shares"),
            ),
            statement!(
                "UPDATE stock SET available = available - ?, locked = locked + ? \
                 WHERE store_id = ? AND sku_id = ? AND available >= ?",
                of_line("quantity"),
                of_line("quantity"),
                store,
                sku,
                of_line("quantity"),
            ),
            statement!(
                "INSERT INTO stock_locks (order_id, line_id, store_id, sku_id, quantity, restocked, state) \
                 VALUES (?, ?, ?, ?, ?, 0, 'LOCK')",
                order,
                line,
                store,
                sku,
                of_line("quantity"),
            ),
            statement!(
                "UPDATE coupons SET status = 'LOCKED', order_id = ? WHERE id = ? AND user_id = ? \
                 AND status = 'UNUSED' AND valid_from_ms <= ? AND ? < valid_until_ms",
                order,
                coupon,
                user,
                now_ms,
                now_ms,
            ),
            statement!(
                "INSERT INTO coupon_moves (cause, coupon_id, order_id, kind, from_status, to_status, at_ms) \
                 VALUES (?, ?, ?, ?, ?, ?, ?)",
                format!("LOCKED:{coupon}:{order}").as_str(),
                coupon,
                order,
                "LOCKED",
                "UNUSED",
                "LOCKED",
                now_ms,
            ),
            statement!(
                "INSERT INTO order_timeline (order_id, seq, at_ms, actor_kind, actor_id, event, from_status, \
                 to_status, detail, request_id) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                order,
                1,
                now_ms,
                "user",
                user,
                self.timeline.get("event"),
                Value::Null,
                self.timeline.get("to_status"),
                self.timeline.get("detail"),
                request.as_str(),
            ),
            statement!(
                "UPDATE orders SET event_seq = event_seq + 1 WHERE id = ? AND event_seq = ?",
                order,
                0
            ),
            statement!(
                "INSERT INTO outbox (id, event, topic, kind, fifo_key, seq, due_ms, state, lease_until_ms, expected_ms, \
                 schema_version, request_id, created_ms, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0, ?, ?, ?, ?, ?)",
                placed_id.as_str(),
                "OrderPlaced",
                self.placed.get("topic"),
                self.placed.get("kind"),
                order,
                1,
                now_ms,
                "READY",
                Value::Null,
                1,
                request.as_str(),
                now_ms,
                placed.as_str(),
            ),
            statement!(
                "INSERT INTO outbox (id, event, topic, kind, fifo_key, seq, due_ms, state, lease_until_ms, expected_ms, \
                 schema_version, request_id, created_ms, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0, ?, ?, ?, ?, ?)",
                deadline_id.as_str(),
                "PaymentDeadline",
                self.deadline.get("topic"),
                self.deadline.get("kind"),
                Value::Null,
                Value::Null,
                of_order("pay_before_ms"),
                "READY",
                Value::Null,
                1,
                request.as_str(),
                now_ms,
                deadline.as_str(),
            ),
            statement!(
                "UPDATE idempotency SET state = 'DONE', outcome = ? WHERE principal = ? AND operation = ? AND idem_key = ?",
                format!(r#"{{"done":{{"again":false,"order_id":"{order}"}}}}"#).as_str(),
                principal,
                "placeOrder",
                key,
            ),
        ]
    }
}

/// The demo's coupon for new users, which every order here uses.
pub struct CouponTemplate;

impl CouponTemplate {
    pub fn new_user() -> minimall::kernel::CouponTemplateId {
        Id::from_tail(&format!("{:0>26}", 1))
    }
}
