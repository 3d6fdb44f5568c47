//! Login and phone codes, session keys: what the client gets from `wx.login` and the phone number button,
//! and what the server makes of it. The two families of codes are kept apart.

use std::collections::HashMap;
use std::sync::PoisonError;

use serde_json::json;
use sqlx::SqliteConnection;

use super::keys::letters;
use super::mini::{self, Answer, Body, Refusal};
use super::server::Call;
use super::store;
use super::{World, demo};
use crate::kernel::{Millis, minute_ms};
use crate::platform::crypto;

const CODE_LIFE_MS: Millis = minute_ms(5);
const LOGINS_A_MINUTE: u32 = 100;
/// `demo:<name>` is a login code that is always fresh.
const DEMO_LOGIN: &str = "demo:";
/// `demo-phone:<11 digits>` is a phone code that is always fresh.
const DEMO_PHONE: &str = "demo-phone:";
const NAME_MAX: usize = 32;

/// Logins of each user in the current minute.
pub type Counts = HashMap<String, (i64, u32)>;

/// The openid of a demo user: always the same for a name.
pub fn demo_openid(name: &str) -> String {
    let digest = crypto::sha256(format!("demo:{name}").as_bytes());
    format!("oDemo{}", &data_encoding::BASE64URL_NOPAD.encode(&digest)[..23])
}

/// A new user's openid.
pub fn fresh_openid() -> String {
    format!("oSbx_{}", letters::<23>())
}

/// Hands out a code of a family: `login` or `phone`.
pub async fn hand_out(
    world: &World,
    family: &str,
    openid: &str,
    phone: Option<&str>,
) -> sqlx::Result<String> {
    let now_ms = world.clock.now_ms();
    let code = letters::<32>();
    let mut tx = world.db.begin().await?;
    store::remember_user(&mut tx, openid, openid, now_ms).await?;
    sqlx::query("DELETE FROM codes WHERE expires_ms < ?").bind(now_ms).execute(&mut *tx).await?;
    sqlx::query("INSERT INTO codes (code, family, openid, phone, expires_ms) VALUES (?, ?, ?, ?, ?)")
        .bind(&code)
        .bind(family)
        .bind(openid)
        .bind(phone)
        .bind(now_ms + CODE_LIFE_MS)
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(code)
}

/// Uses a code up. None: unknown, of the other family, used or expired.
async fn take(
    tx: &mut SqliteConnection,
    family: &str,
    code: &str,
    now_ms: Millis,
) -> sqlx::Result<Option<(String, Option<String>)>> {
    sqlx::query_as(
        "DELETE FROM codes WHERE code = ? AND family = ? AND expires_ms > ? RETURNING openid, phone",
    )
    .bind(code)
    .bind(family)
    .bind(now_ms)
    .fetch_optional(tx)
    .await
}

fn invalid_code() -> Refusal {
    Refusal::new(40029, "invalid code")
}

/// `GET /sns/jscode2session`
pub async fn code2session(world: &World, call: &Call) -> Answer {
    let appid = call.query("appid").ok_or_else(|| Refusal::new(41002, "appid missing"))?;
    let secret = call.query("secret").ok_or_else(|| Refusal::new(41004, "appsecret missing"))?;
    let code = call.query("js_code").ok_or_else(|| Refusal::new(41008, "missing code"))?;
    if call.query("grant_type").as_deref() != Some("authorization_code") {
        return Err(Refusal::new(40002, "invalid grant_type"));
    }
    if appid != demo::APPID {
        return Err(Refusal::new(40013, "invalid appid"));
    }
    if !crypto::same(secret.as_bytes(), demo::APP_SECRET.as_bytes()) {
        return Err(Refusal::new(40125, "invalid appsecret"));
    }
    let now_ms = world.clock.now_ms();
    let mut tx = world.db.begin().await?;
    let openid = match code.strip_prefix(DEMO_LOGIN) {
        Some(name) if !name.is_empty() && name.chars().count() <= NAME_MAX => {
            let openid = demo_openid(name);
            store::remember_user(&mut tx, &openid, name, now_ms).await?;
            openid
        }
        _ => take(&mut tx, "login", &code, now_ms).await?.ok_or_else(invalid_code)?.0,
    };
    count(world, &openid, now_ms)?;
    let session_key = new_session_key(&mut tx, &openid).await?;
    tx.commit().await?;
    Ok(Body::Json(json!({ "openid": openid, "session_key": session_key })))
}

fn count(world: &World, openid: &str, now_ms: Millis) -> Result<(), Refusal> {
    let minute = now_ms / minute_ms(1);
    let mut counts = world.logins.lock().unwrap_or_else(PoisonError::into_inner);
    counts.retain(|_, (of_minute, _)| *of_minute == minute);
    let logins = counts.entry(openid.to_owned()).or_insert((minute, 0));
    logins.1 += 1;
    if logins.1 > LOGINS_A_MINUTE {
        return Err(Refusal::new(45011, "api minute-quota reach limit, must slower, retry next minute"));
    }
    Ok(())
}

/// A user has one valid key; each login replaces it.
async fn new_session_key(tx: &mut SqliteConnection, openid: &str) -> sqlx::Result<String> {
    let session_key = crypto::base64(&crypto::random::<16>());
    sqlx::query("UPDATE users SET session_key = ? WHERE openid = ?")
        .bind(&session_key)
        .bind(openid)
        .execute(tx)
        .await?;
    Ok(session_key)
}

/// `POST /wxa/business/getuserphonenumber`
pub async fn phone_number(world: &World, call: &Call) -> Answer {
    let body = mini::body(call)?;
    let code = body["code"].as_str().ok_or_else(invalid_code)?;
    let now_ms = world.clock.now_ms();
    let phone = match code.strip_prefix(DEMO_PHONE) {
        Some(digits) if is_phone(digits) => digits.to_owned(),
        _ => {
            let mut tx = world.db.begin().await?;
            let taken = take(&mut tx, "phone", code, now_ms).await?;
            tx.commit().await?;
            taken.and_then(|(_, phone)| phone).ok_or_else(invalid_code)?
        }
    };
    mini::ok(json!({ "phone_info": {
        "phoneNumber": phone,
        "purePhoneNumber": phone,
        "countryCode": "86",
        "watermark": { "timestamp": now_ms / 1_000, "appid": demo::APPID },
    }}))
}

/// 11 digits, as in mainland China.
pub fn is_phone(text: &str) -> bool {
    text.len() == 11 && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Checks the signature of a session call; answers the openid.
async fn signed_session(world: &World, call: &Call) -> Result<String, Refusal> {
    let openid = call.query("openid").ok_or_else(|| Refusal::new(40003, "invalid openid"))?;
    if call.query("sig_method").as_deref() != Some("hmac_sha256") {
        return Err(Refusal::new(87008, "invalid sig_method"));
    }
    let key: Option<Option<String>> = sqlx::query_scalar("SELECT session_key FROM users WHERE openid = ?")
        .bind(&openid)
        .fetch_optional(&world.db)
        .await?;
    let key = key.ok_or_else(|| Refusal::new(40003, "invalid openid"))?;
    let key = key.ok_or_else(|| Refusal::new(87007, "session is unavailable"))?;
    let wanted = crypto::hex(&crypto::hmac_sha256(key.as_bytes(), b""));
    if call.query("signature").is_none_or(|given| !crypto::same(given.as_bytes(), wanted.as_bytes())) {
        return Err(Refusal::new(87009, "invalid signature"));
    }
    Ok(openid)
}

/// `GET /wxa/checksession`
pub async fn check_session(world: &World, call: &Call) -> Answer {
    signed_session(world, call).await?;
    mini::ok(json!({}))
}

/// `GET /wxa/resetusersessionkey`
pub async fn reset_session_key(world: &World, call: &Call) -> Answer {
    let openid = signed_session(world, call).await?;
    let session_key = new_session_key(&mut *world.db.acquire().await?, &openid).await?;
    mini::ok(json!({ "openid": openid, "session_key": session_key }))
}
