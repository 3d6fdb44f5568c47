//! The SQL of stores.

use sqlx::FromRow;

use super::{OpenHours, SCENE_TAKEN, Store, StoreDetails, StoreKind};
use crate::kernel::{Currency, Failure, Millis, Result, StoreId};
use crate::platform::db::{Conn, changed, inserted};
use crate::staff::StoreScope;

const COLUMNS: &str = "id, kind, name, phone, province, city, district, address, lat, lng, time_zone, hours_json, \
     freight_minor, free_freight_from_minor, currency, scene, image, paused_ms, paused_until_ms, version, created_ms";

#[derive(FromRow)]
struct Row {
    id: StoreId,
    kind: StoreKind,
    name: String,
    phone: String,
    province: String,
    city: String,
    district: String,
    address: String,
    lat: f64,
    lng: f64,
    time_zone: String,
    hours_json: String,
    freight_minor: i64,
    free_freight_from_minor: Option<i64>,
    currency: Currency,
    scene: String,
    image: Option<String>,
    paused_ms: Option<Millis>,
    paused_until_ms: Option<Millis>,
    version: i64,
    created_ms: Millis,
}

impl TryFrom<Row> for Store {
    type Error = Failure;
    fn try_from(row: Row) -> Result<Self> {
        let hours: OpenHours = serde_json::from_str(&row.hours_json)
            .map_err(|e| Failure::internal(format!("reading the hours of {}", row.id), e))?;
        let details = StoreDetails {
            name: row.name,
            phone: row.phone,
            province: row.province,
            city: row.city,
            district: row.district,
            address: row.address,
            lat: row.lat,
            lng: row.lng,
            time_zone: row.time_zone,
            hours,
            freight_minor: row.freight_minor,
            free_freight_from_minor: row.free_freight_from_minor,
            scene: row.scene,
            image: row.image,
        };
        Ok(Self {
            id: row.id,
            kind: row.kind,
            currency: row.currency,
            details,
            paused: row.paused_ms.is_some(),
            paused_until_ms: row.paused_until_ms,
            version: row.version,
            created_ms: row.created_ms,
        })
    }
}

fn select(rest: &str) -> sqlx::AssertSqlSafe<String> {
    sqlx::AssertSqlSafe(format!("SELECT {COLUMNS} FROM stores {rest}"))
}

pub async fn find(conn: &mut Conn, id: &StoreId) -> Result<Option<Store>> {
    let row: Option<Row> = sqlx::query_as(select("WHERE id = ?")).bind(id).fetch_optional(conn).await?;
    row.map(Store::try_from).transpose()
}

pub async fn after(conn: &mut Conn, after: &str, limit: i64) -> Result<Vec<Store>> {
    let rows: Vec<Row> = sqlx::query_as(select("WHERE id > ? ORDER BY id LIMIT ?"))
        .bind(after)
        .bind(limit)
        .fetch_all(conn)
        .await?;
    rows.into_iter().map(Store::try_from).collect()
}

/// Of these stores.
pub async fn after_in(conn: &mut Conn, scope: &StoreScope, after: &str, limit: i64) -> Result<Vec<Store>> {
    let query = select(&format!("WHERE id > ?{} ORDER BY id LIMIT ?", scope.condition("id")));
    let mut query = sqlx::query_as(query).bind(after);
    for store in scope.bound() {
        query = query.bind(store);
    }
    let rows: Vec<Row> = query.bind(limit).fetch_all(conn).await?;
    rows.into_iter().map(Store::try_from).collect()
}

pub async fn count(conn: &mut Conn) -> Result<i64> {
    let (count,): (i64,) = sqlx::query_as("SELECT COUNT(*) FROM stores").fetch_one(conn).await?;
    Ok(count)
}

/// The next version of the one sequence; whoever takes it holds back other writers of stores.
pub async fn next_version(conn: &mut Conn) -> Result<i64> {
    sqlx::query("UPDATE store_versions SET latest = latest + 1 WHERE id = 1").execute(&mut *conn).await?;
    let (latest,): (i64,) =
        sqlx::query_as("SELECT latest FROM store_versions WHERE id = 1").fetch_one(conn).await?;
    Ok(latest)
}

/// The newest version that a store has. The sequence may be ahead of it: not every number is used.
pub async fn newest_version(conn: &mut Conn) -> Result<i64> {
    let (newest,): (i64,) =
        sqlx::query_as("SELECT COALESCE(MAX(version), 0) FROM stores").fetch_one(conn).await?;
    Ok(newest)
}

fn hours_json(store: &Store) -> Result<String> {
    serde_json::to_string(&store.hours).map_err(|e| Failure::internal("writing open hours", e))
}

/// False: the id or the scene is there already.
pub async fn insert(conn: &mut Conn, store: &Store) -> Result<bool> {
    let query = "INSERT INTO stores (id, kind, name, phone, province, city, district, address, lat, lng, time_zone, \
         hours_json, freight_minor, free_freight_from_minor, currency, scene, image, paused_ms, version, created_ms, \
         updated_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
    inserted(
        sqlx::query(query)
            .bind(&store.id)
            .bind(store.kind)
            .bind(&store.name)
            .bind(&store.phone)
            .bind(&store.province)
            .bind(&store.city)
            .bind(&store.district)
            .bind(&store.address)
            .bind(store.lat)
            .bind(store.lng)
            .bind(&store.time_zone)
            .bind(hours_json(store)?)
            .bind(store.freight_minor)
            .bind(store.free_freight_from_minor)
            .bind(store.currency)
            .bind(&store.scene)
            .bind(&store.image)
            .bind(store.paused.then_some(store.created_ms))
            .bind(store.version)
            .bind(store.created_ms)
            .bind(store.created_ms)
            .execute(conn)
            .await,
    )
}

/// Writes the details where the version is still `expected`.
pub async fn update(conn: &mut Conn, store: &Store, expected: i64, now_ms: Millis) -> Result<bool> {
    let query = "UPDATE stores SET name = ?, phone = ?, province = ?, city = ?, district = ?, address = ?, lat = ?, \
         lng = ?, time_zone = ?, hours_json = ?, freight_minor = ?, free_freight_from_minor = ?, scene = ?, image = ?, \
         version = ?, updated_ms = ? WHERE id = ? AND version = ?";
    let written = sqlx::query(query)
        .bind(&store.name)
        .bind(&store.phone)
        .bind(&store.province)
        .bind(&store.city)
        .bind(&store.district)
        .bind(&store.address)
        .bind(store.lat)
        .bind(store.lng)
        .bind(&store.time_zone)
        .bind(hours_json(store)?)
        .bind(store.freight_minor)
        .bind(store.free_freight_from_minor)
        .bind(&store.scene)
        .bind(&store.image)
        .bind(store.version)
        .bind(now_ms)
        .bind(&store.id)
        .bind(expected)
        .execute(conn)
        .await;
    match written {
        Err(sqlx::Error::Database(error)) if error.is_unique_violation() => Err(Failure::new(&SCENE_TAKEN)),
        written => changed(written),
    }
}

pub async fn set_paused(conn: &mut Conn, store: &Store, expected: i64, now_ms: Millis) -> Result<bool> {
    changed(
        sqlx::query(
            "UPDATE stores SET paused_ms = ?, paused_until_ms = ?, version = ?, updated_ms = ? \
             WHERE id = ? AND version = ?",
        )
        .bind(store.paused.then_some(now_ms))
        .bind(store.paused_until_ms)
        .bind(store.version)
        .bind(now_ms)
        .bind(&store.id)
        .bind(expected)
        .execute(conn)
        .await,
    )
}
