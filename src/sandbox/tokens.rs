//! Access tokens: two endpoints whose tokens don't affect each other, each with its rule of replacement.

use serde_json::{Value, json};
use sqlx::SqliteConnection;

use super::faults::FaultKind;
use super::keys::letters;
use super::mini::{self, Answer, Body, Refusal};
use super::server::Call;
use super::{World, demo};
use crate::kernel::{Millis, day_ms, minute_ms};
use crate::platform::crypto;

const LIFE_MS: Millis = 7_200_000;
/// During a change the old and the new token both work for this long.
const OVERLAP_MS: Millis = minute_ms(5);
const FORCED_SPACING_MS: Millis = 30_000;
const FORCED_A_DAY: i64 = 20;

fn check_app(appid: Option<&str>, secret: Option<&str>, grant_type: Option<&str>) -> Result<(), Refusal> {
    match (appid, secret, grant_type) {
        (_, _, kind) if kind != Some("client_credential") => Err(Refusal::new(40002, "invalid grant_type")),
        (None | Some(""), ..) => Err(Refusal::new(41002, "appid missing")),
        (Some(appid), ..) if appid != demo::APPID => Err(Refusal::new(40013, "invalid appid")),
        (_, None | Some(""), _) => Err(Refusal::new(41004, "appsecret missing")),
        (_, Some(secret), _) if !crypto::same(secret.as_bytes(), demo::APP_SECRET.as_bytes()) => {
            Err(Refusal::new(40125, "invalid appsecret"))
        }
        _ => Ok(()),
    }
}

/// `GET /cgi-bin/token`: each call replaces the token before.
pub async fn token(world: &World, call: &Call) -> Answer {
    let (appid, secret, kind) = (call.query("appid"), call.query("secret"), call.query("grant_type"));
    check_app(appid.as_deref(), secret.as_deref(), kind.as_deref())?;
    let now_ms = world.clock.now_ms();
    let mut tx = world.db.begin().await?;
    shorten(&mut tx, "plain", now_ms + OVERLAP_MS).await?;
    let token = issue(&mut tx, "plain", false, now_ms).await?;
    tx.commit().await?;
    answer(&token, LIFE_MS)
}

/// `POST /cgi-bin/stable_token`: the same token until shortly before its end, unless a refresh is forced.
pub async fn stable_token(world: &World, call: &Call) -> Answer {
    let body = mini::body(call)?;
    let text = |name: &str| body[name].as_str();
    check_app(text("appid"), text("secret"), text("grant_type"))?;
    let forced = match &body["force_refresh"] {
        Value::Null => false,
        Value::Bool(forced) => *forced,
        _ => return Err(Refusal::new(47001, "data format error")),
    };
    let now_ms = world.clock.now_ms();
    let mut tx = world.db.begin().await?;
    let latest: Option<(String, Millis, Millis)> = sqlx::query_as(
        "SELECT token, issued_ms, expires_ms FROM tokens WHERE family = 'stable' \
         ORDER BY issued_ms DESC, rowid DESC LIMIT 1",
    )
    .fetch_optional(&mut *tx)
    .await?;
    if let Some((token, issued_ms, expires_ms)) = latest {
        let too_soon = now_ms - issued_ms < FORCED_SPACING_MS;
        let fresh = expires_ms - now_ms > OVERLAP_MS;
        if fresh && (!forced || too_soon) {
            return answer(&token, expires_ms - now_ms);
        }
    }
    if forced {
        let used: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM tokens WHERE family = 'stable' AND forced = 1 AND issued_ms > ?",
        )
        .bind(now_ms - day_ms(1))
        .fetch_one(&mut *tx)
        .await?;
        if used >= FORCED_A_DAY {
            return Err(Refusal::new(45009, "reach max api daily quota limit"));
        }
        shorten(&mut tx, "stable", now_ms).await?;
    }
    let token = issue(&mut tx, "stable", forced, now_ms).await?;
    tx.commit().await?;
    answer(&token, LIFE_MS)
}

fn answer(token: &str, left_ms: Millis) -> Answer {
    Ok(Body::Json(json!({ "access_token": token, "expires_in": left_ms.min(LIFE_MS) / 1_000 })))
}

async fn shorten(tx: &mut SqliteConnection, family: &str, until_ms: Millis) -> sqlx::Result<()> {
    sqlx::query("UPDATE tokens SET expires_ms = min(expires_ms, ?) WHERE family = ? AND expires_ms > ?")
        .bind(until_ms)
        .bind(family)
        .bind(until_ms)
        .execute(tx)
        .await?;
    Ok(())
}

async fn issue(
    tx: &mut SqliteConnection,
    family: &str,
    forced: bool,
    now_ms: Millis,
) -> sqlx::Result<String> {
    let token = format!("86_{}", letters::<133>());
    sqlx::query("INSERT INTO tokens (token, family, forced, issued_ms, expires_ms) VALUES (?, ?, ?, ?, ?)")
        .bind(&token)
        .bind(family)
        .bind(forced)
        .bind(now_ms)
        .bind(now_ms + LIFE_MS)
        .execute(tx)
        .await?;
    Ok(token)
}

/// Is the token of this call good?
pub async fn check(world: &World, call: &Call) -> Result<(), Refusal> {
    let token = call.query("access_token").ok_or_else(|| Refusal::new(41001, "access_token missing"))?;
    if token.len() < 64 {
        return Err(Refusal::new(40014, "invalid access_token"));
    }
    let now_ms = world.clock.now_ms();
    if world.faults.strikes(FaultKind::TokenExpired, call.path()) {
        sqlx::query("UPDATE tokens SET expires_ms = ? WHERE token = ?")
            .bind(now_ms)
            .bind(&token)
            .execute(&world.db)
            .await?;
    }
    let expires_ms: Option<Millis> = sqlx::query_scalar("SELECT expires_ms FROM tokens WHERE token = ?")
        .bind(&token)
        .fetch_optional(&world.db)
        .await?;
    match expires_ms {
        Some(expires_ms) if now_ms < expires_ms => Ok(()),
        Some(_) => Err(Refusal::new(42001, "access_token expired")),
        None => Err(Refusal::new(40001, "invalid credential, access_token is invalid or not latest")),
    }
}
