//! SQL of searches: a walk is one index range, read backwards.

use sqlx::AssertSqlSafe;

use crate::kernel::{Millis, OrderId, ProductId, Result, SkuId, StoreId, UserId};
use crate::orders::sql::order_columns;
use crate::orders::{Fulfilment, Order, OrderStatus};
use crate::platform::db::Conn;

/// Along which index orders are walked.
#[derive(Debug, Clone, Copy)]
pub enum Way<'a> {
    All,
    /// No walk: these.
    Ids(&'a [OrderId]),
    User(&'a UserId),
    /// The keyed hash of the recipient's phone number.
    Phone(&'a str),
    PickupCode(&'a str),
    Store(&'a StoreId),
    Status(OrderStatus),
    /// How it is handed over, and where it stands.
    Handover(Fulfilment, OrderStatus),
    Sku(&'a SkuId),
    Product(&'a ProductId),
}

/// A phone number.
#[derive(Debug)]
pub struct OfPhone {
    /// Its keyed hashes, as recipients' numbers stand in orders.
    pub hashes: Vec<String>,
    /// The customers who have it.
    pub users: Vec<UserId>,
}

/// What else has to fit.
#[derive(Debug, Default)]
pub struct Rest<'a> {
    pub stores: Option<Vec<&'a StoreId>>,
    pub status: Option<OrderStatus>,
    pub fulfilment: Option<Fulfilment>,
    pub user: Option<&'a UserId>,
    pub phone: Option<&'a OfPhone>,
    pub pickup_code: Option<&'a str>,
    pub sku: Option<&'a SkuId>,
    pub product: Option<&'a ProductId>,
    pub goods: Option<&'a str>,
    pub placed_from_ms: Option<Millis>,
    pub placed_until_ms: Option<Millis>,
    /// Not below this id.
    pub first_id: Option<OrderId>,
    /// Below this id.
    pub before_id: String,
    pub limit: i64,
}

pub enum Bind {
    Text(String),
    Number(i64),
}

impl From<Millis> for Bind {
    fn from(number: Millis) -> Self {
        Self::Number(number)
    }
}

impl From<&str> for Bind {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

/// A query as it grows: conditions and what they are bound to, in the same order.
struct Query {
    text: String,
    binds: Vec<Bind>,
}

impl Query {
    fn and(&mut self, condition: &str, bind: impl Into<Bind>) {
        self.text.push_str(" AND ");
        self.text.push_str(condition);
        self.binds.push(bind.into());
    }

    fn among<'a>(&mut self, column: &str, values: impl ExactSizeIterator<Item = &'a str>) {
        self.text.push_str(" AND");
        self.values(column, values);
    }

    fn values<'a>(&mut self, column: &str, values: impl ExactSizeIterator<Item = &'a str>) {
        let places = match values.len() {
            // Nothing is among none.
            0 => "NULL".to_owned(),
            count => vec!["?"; count].join(", "),
        };
        self.text.push_str(&format!(" {column} IN ({places})"));
        self.binds.extend(values.map(Bind::from));
    }
}

/// The query of a walk, and what it is bound to.
pub fn query(way: &Way<'_>, rest: &Rest<'_>) -> (String, Vec<Bind>) {
    let by_line = matches!(way, Way::Sku(_) | Way::Product(_));
    let (id, from) = if by_line {
        ("l.order_id", "order_lines l JOIN orders o ON o.id = l.order_id")
    } else {
        ("o.id", "orders o")
    };
    let mut query = Query {
        text: format!("SELECT {id} FROM {from} WHERE {id} < ?"),
        binds: vec![Bind::Text(rest.before_id.clone())],
    };
    if let Some(first) = &rest.first_id {
        query.and(&format!("{id} >= ?"), first.as_str());
    }
    match way {
        Way::All => {}
        Way::Ids(ids) => query.among("o.id", ids.iter().map(OrderId::as_str)),
        Way::User(user) => query.and("o.user_id = ?", user.as_str()),
        Way::Phone(hash) => query.and("o.phone_hash = ?", *hash),
        Way::PickupCode(code) => query.and("o.pickup_code = ?", *code),
        Way::Store(store) => query.and("o.store_id = ?", store.as_str()),
        Way::Status(status) => query.and("o.status = ?", status.as_str()),
        Way::Handover(fulfilment, status) => {
            query.and("o.fulfilment = ?", fulfilment.as_str());
            query.and("o.status = ?", status.as_str());
        }
        Way::Sku(sku) => query.and("l.sku_id = ?", sku.as_str()),
        Way::Product(product) => query.and("l.product_id = ?", product.as_str()),
    }
    add_rest(&mut query, way, rest);
    if by_line {
        // A product may be in several lines of an order.
        query.text.push_str(" GROUP BY l.order_id");
    }
    query.text.push_str(&format!(" ORDER BY {id} DESC LIMIT ?"));
    query.binds.push(Bind::Number(rest.limit));
    (query.text, query.binds)
}

/// The conditions that the way itself does not ask for.
fn add_rest(query: &mut Query, way: &Way<'_>, rest: &Rest<'_>) {
    let asked_status = matches!(way, Way::Status(_) | Way::Handover(..));
    if let Some(status) = rest.status.filter(|_| !asked_status) {
        query.and("o.status = ?", status.as_str());
    }
    if let Some(fulfilment) = rest.fulfilment.filter(|_| !matches!(way, Way::Handover(..))) {
        query.and("o.fulfilment = ?", fulfilment.as_str());
    }
    if let Some(user) = rest.user.filter(|user| !matches!(way, Way::User(walked) if walked == user)) {
        query.and("o.user_id = ?", user.as_str());
    }
    // Every other way of somebody with this number is the number's or that person's.
    if let (Way::Ids(_), Some(OfPhone { hashes, users })) = (way, rest.phone) {
        query.among("(o.phone_hash", hashes.iter().map(String::as_str));
        query.text.push_str(" OR");
        query.values("o.user_id", users.iter().map(UserId::as_str));
        query.text.push(')');
    }
    if let Some(code) = rest.pickup_code.filter(|_| !matches!(way, Way::PickupCode(_))) {
        query.and("o.pickup_code = ?", code);
    }
    if let Some(stores) = &rest.stores
        && !matches!(way, Way::Store(..))
    {
        query.among("o.store_id", stores.iter().map(|store| store.as_str()));
    }
    const OF_ORDER: &str = "EXISTS (SELECT 1 FROM order_lines x WHERE x.order_id = o.id AND";
    if let Some(sku) = rest.sku.filter(|_| !matches!(way, Way::Sku(_))) {
        query.and(&format!("{OF_ORDER} x.sku_id = ?)"), sku.as_str());
    }
    if let Some(product) = rest.product.filter(|_| !matches!(way, Way::Product(_))) {
        query.and(&format!("{OF_ORDER} x.product_id = ?)"), product.as_str());
    }
    if let Some(goods) = rest.goods {
        let goods = goods.to_ascii_lowercase();
        query.and(&format!("{OF_ORDER} (INSTR(LOWER(x.product_name), ?) > 0"), &*goods);
        query.text.push_str(" OR INSTR(LOWER(x.sku_name), ?) > 0))");
        query.binds.push(Bind::Text(goods));
    }
    if let Some(from_ms) = rest.placed_from_ms {
        query.and("o.placed_ms >= ?", from_ms);
    }
    if let Some(until_ms) = rest.placed_until_ms {
        query.and("o.placed_ms < ?", until_ms);
    }
}

/// The ids that a walk passes and that fit, newest first.
pub async fn walk(conn: &mut Conn, way: &Way<'_>, rest: &Rest<'_>) -> Result<Vec<OrderId>> {
    let (text, binds) = query(way, rest);
    let mut query = sqlx::query_as(AssertSqlSafe(text));
    for bind in binds {
        query = match bind {
            Bind::Text(text) => query.bind(text),
            Bind::Number(number) => query.bind(number),
        };
    }
    let rows: Vec<(OrderId,)> = query.fetch_all(conn).await?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}

pub async fn by_ids(conn: &mut Conn, ids: &[OrderId]) -> Result<Vec<Order>> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let places = vec!["?"; ids.len()].join(", ");
    let text = format!(concat!("SELECT ", order_columns!(), " FROM orders WHERE id IN ({})"), places);
    let mut query = sqlx::query_as(AssertSqlSafe(text));
    for id in ids {
        query = query.bind(id);
    }
    Ok(query.fetch_all(conn).await?)
}
