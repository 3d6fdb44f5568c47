//! What goes out to the shop: payment and refund notifications on WeChat Pay's schedule, and message pushes.
//! A row of `outgoing` is one notification; it is encrypted and signed anew for every attempt.

use std::time::Duration;

use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use sqlx::{FromRow, SqliteConnection};

use super::calls::{self, RawCall};
use super::faults::FaultKind;
use super::fields::beijing;
use super::keys::{Signing, letters, seal_resource};
use super::v3::{signature_headers, signing_for};
use super::{World, demo, push, refunds, shipping};
use crate::kernel::Millis;

/// An answer that takes longer counts as none.
pub const TIMEOUT: Duration = Duration::from_secs(5);
/// Real time to wait when the database refuses, instead of trying in a tight loop.
pub const BREATH: Duration = Duration::from_secs(1);
const AT_ONCE: usize = 8;
const TICK_MAX: i64 = 200;
const DELAY_DEFAULT_MS: u64 = 60_000;

/// Seconds between an attempt and the next: at most 15 repeats.
/// <https://pay.weixin.qq.com/doc/v3/merchant/4012791902>
pub const SCHEDULE_S: [i64; 15] =
    [15, 15, 30, 180, 600, 1_200, 1_800, 1_800, 1_800, 3_600, 10_800, 10_800, 10_800, 21_600, 21_600];
/// Message pushes are repeated three times.
const PUSH_SCHEDULE_S: [i64; 3] = [5, 5, 5];

/// A notification to be staged.
pub struct Notice<'a> {
    pub event_type: &'a str,
    pub original_type: &'a str,
    pub summary: &'a str,
    pub url: &'a str,
    /// `public_key` or `certificate`: how the call that caused it wanted its answer signed.
    pub signing: &'a str,
    pub body: &'a Value,
}

/// Writes a notification down, in the transaction of what it tells. The faults that decide whether and when
/// it is sent at all strike here.
pub async fn stage(world: &World, tx: &mut SqliteConnection, notice: Notice<'_>) -> sqlx::Result<()> {
    let now_ms = world.clock.now_ms();
    let dropped = world.faults.strikes(FaultKind::NotifyDrop, "");
    let delay = world.faults.take(FaultKind::NotifyDelay, "");
    let delay_ms = delay.map_or(0, |fault| fault.delay_ms.unwrap_or(DELAY_DEFAULT_MS)) as i64;
    let copies = if world.faults.strikes(FaultKind::NotifyDuplicate, "") { 2 } else { 1 };
    let id = notice_id();
    let body = json!({
        "original_type": notice.original_type, "summary": notice.summary, "plain": notice.body.to_string(),
    });
    for _ in 0..copies {
        sqlx::query(
            "INSERT INTO outgoing (notice_id, kind, url, event_type, body, signing, state, attempts, due_ms, \
             last_answer, created_ms) VALUES (?, 'notification', ?, ?, ?, ?, ?, 0, ?, '', ?)",
        )
        .bind(&id)
        .bind(notice.url)
        .bind(notice.event_type)
        .bind(body.to_string())
        .bind(notice.signing)
        .bind(if dropped { "DROPPED" } else { "PENDING" })
        .bind((!dropped).then_some(now_ms + delay_ms))
        .bind(now_ms)
        .execute(&mut *tx)
        .await?;
    }
    Ok(())
}

/// Writes a message push down; `body` is the message before encryption.
pub async fn stage_push(
    world: &World,
    tx: &mut SqliteConnection,
    event_type: &str,
    body: &Value,
) -> sqlx::Result<()> {
    let Some(url) = world.push_url() else { return Ok(()) };
    let now_ms = world.clock.now_ms();
    sqlx::query(
        "INSERT INTO outgoing (notice_id, kind, url, event_type, body, signing, state, attempts, due_ms, \
         last_answer, created_ms) VALUES (?, 'push', ?, ?, ?, '', 'PENDING', 0, ?, '', ?)",
    )
    .bind(notice_id())
    .bind(url)
    .bind(event_type)
    .bind(body.to_string())
    .bind(now_ms)
    .bind(now_ms)
    .execute(tx)
    .await?;
    Ok(())
}

/// 36 characters, as WeChat's are.
fn notice_id() -> String {
    let text = letters::<32>().to_lowercase();
    format!("{}-{}-{}-{}-{}", &text[..8], &text[8..12], &text[12..16], &text[16..20], &text[20..])
}

/// One row of the queue.
#[derive(Debug, Clone, FromRow)]
pub struct Outgoing {
    pub id: i64,
    pub notice_id: String,
    pub kind: String,
    pub url: String,
    pub event_type: String,
    pub body: String,
    pub signing: String,
    pub state: String,
    pub attempts: i64,
    pub due_ms: Option<Millis>,
    pub last_answer: String,
    pub created_ms: Millis,
}

/// The newest notifications and pushes, sent or not.
pub async fn newest(world: &World, limit: i64) -> sqlx::Result<Vec<Outgoing>> {
    sqlx::query_as(
        "SELECT id, notice_id, kind, url, event_type, body, signing, state, attempts, due_ms, last_answer, \
         created_ms FROM outgoing ORDER BY id DESC LIMIT ?",
    )
    .bind(limit)
    .fetch_all(&world.db)
    .await
}

/// Makes a notification due now, whatever became of it. False: there is none with this id.
pub async fn resend(world: &World, id: i64) -> sqlx::Result<bool> {
    let moved = sqlx::query("UPDATE outgoing SET state = 'PENDING', due_ms = ? WHERE id = ?")
        .bind(world.clock.now_ms())
        .bind(id)
        .execute(&world.db)
        .await?;
    world.wake.notify_one();
    Ok(moved.rows_affected() == 1)
}

/// When something is due next, if ever.
pub async fn next_due_ms(world: &World) -> Option<Millis> {
    let due: sqlx::Result<Option<Millis>> = sqlx::query_scalar(
        "SELECT min(due_ms) FROM (SELECT min(due_ms) AS due_ms FROM outgoing WHERE due_ms IS NOT NULL \
         UNION ALL SELECT min(due_ms) FROM refunds WHERE due_ms IS NOT NULL \
         UNION ALL SELECT min(remind_ms) FROM payments WHERE remind_ms IS NOT NULL \
         UNION ALL SELECT min(confirm_due_ms) FROM shipments WHERE confirm_due_ms IS NOT NULL)",
    )
    .fetch_one(&world.db)
    .await;
    due.unwrap_or_default()
}

/// See [`super::Sandbox::tick`].
pub async fn tick(world: &World) -> usize {
    let _one_at_a_time = world.ticking.lock().await;
    match due(world).await {
        Ok(rows) => {
            let count = rows.len();
            stream::iter(rows).for_each_concurrent(AT_ONCE, |row| attempt(world, row)).await;
            count
        }
        Err(error) => {
            tracing::error!(%error, "the sandbox could not read what is due");
            0
        }
    }
}

async fn due(world: &World) -> sqlx::Result<Vec<Outgoing>> {
    refunds::end_due(world).await?;
    shipping::end_due(world).await?;
    sqlx::query_as(
        "SELECT id, notice_id, kind, url, event_type, body, signing, state, attempts, due_ms, last_answer, \
         created_ms FROM outgoing WHERE due_ms <= ? ORDER BY due_ms, id LIMIT ?",
    )
    .bind(world.clock.now_ms())
    .bind(TICK_MAX)
    .fetch_all(&world.db)
    .await
}

async fn attempt(world: &World, row: Outgoing) {
    let (url, headers, body) =
        if row.kind == "push" { push::envelope(world, &row) } else { envelope(world, &row) };
    let mut request = world.http.post(&url).header("Content-Type", "application/json").body(body.clone());
    for (name, value) in &headers {
        request = request.header(*name, value);
    }
    let (status, response_headers, answer) = match request.send().await {
        Ok(response) => {
            let status = response.status().as_u16();
            let headers = calls::headers(response.headers());
            match response.text().await {
                Ok(text) => (status, headers, text),
                Err(error) => (0, headers, error.without_url().to_string()),
            }
        }
        Err(error) => (0, Vec::new(), error.without_url().to_string()),
    };
    world.calls.record(RawCall {
        id: 0,
        at_ms: world.clock.now_ms(),
        direction: "out".to_owned(),
        method: "POST".to_owned(),
        target: url,
        request_headers: headers
            .into_iter()
            .map(|(name, value)| calls::Header { name: name.to_owned(), value })
            .collect(),
        request_body: body,
        status,
        response_headers,
        response_body: calls::body_text(answer.as_bytes()),
    });
    let received = if row.kind == "push" {
        status == 200 && matches!(answer.trim(), "" | "success")
    } else {
        status == 200 || status == 204
    };
    if let Err(error) = finish(world, &row, received, status).await {
        tracing::error!(%error, "the sandbox could not write down an attempt to notify");
        tokio::time::sleep(BREATH).await;
    }
}

/// Delivered, or due again on the schedule, or given up.
async fn finish(world: &World, row: &Outgoing, received: bool, status: u16) -> sqlx::Result<()> {
    let schedule: &[i64] = if row.kind == "push" { &PUSH_SCHEDULE_S } else { &SCHEDULE_S };
    let wait_s = usize::try_from(row.attempts).ok().and_then(|done| schedule.get(done));
    let (state, due_ms) = match (received, wait_s) {
        (true, _) => ("DELIVERED", None),
        (false, Some(wait_s)) => ("PENDING", Some(world.clock.now_ms() + wait_s * 1_000)),
        (false, None) => ("GIVEN_UP", None),
    };
    let answer = if status == 0 { "no answer".to_owned() } else { status.to_string() };
    sqlx::query(
        "UPDATE outgoing SET state = ?, due_ms = ?, attempts = attempts + 1, last_answer = ? WHERE id = ?",
    )
    .bind(state)
    .bind(due_ms)
    .bind(answer)
    .bind(row.id)
    .execute(&world.db)
    .await?;
    Ok(())
}

/// URL, headers and body of one attempt. The faults that spoil a signature strike here.
fn envelope(world: &World, row: &Outgoing) -> (String, Vec<(&'static str, String)>, String) {
    let stored: Value = serde_json::from_str(&row.body).unwrap_or_default();
    let text = |name: &str| stored[name].as_str().unwrap_or_default();
    let original_type = text("original_type");
    let (nonce, ciphertext) = seal_resource(original_type, text("plain").as_bytes());
    let body = json!({
        "id": row.notice_id,
        "create_time": beijing(row.created_ms),
        "resource_type": "encrypt-resource",
        "event_type": row.event_type,
        "summary": text("summary"),
        "resource": {
            "original_type": original_type,
            "algorithm": "AEAD_AES_256_GCM",
            "ciphertext": ciphertext,
            "associated_data": original_type,
            "nonce": nonce,
        },
    })
    .to_string();
    let serial = (row.signing == "public_key").then_some(demo::PUBLIC_KEY_ID);
    let signing = signing_for(world, serial);
    let mut headers = signature_headers(world, signing, body.as_bytes());
    if world.faults.strikes(FaultKind::NotifyBadSignature, "") {
        let other = if signing == Signing::PublicKey { Signing::Older } else { Signing::PublicKey };
        replace(&mut headers, "Wechatpay-Signature", world.keys.sign(other, body.as_bytes()));
    }
    if world.faults.strikes(FaultKind::NotifySigntest, "") {
        replace(&mut headers, "Wechatpay-Signature", format!("WECHATPAY/SIGNTEST/{}", letters::<64>()));
    }
    if world.faults.strikes(FaultKind::NotifyWrongSerial, "") {
        replace(&mut headers, "Wechatpay-Serial", "7D0000000000000000000000000000000000FFFF".to_owned());
    }
    headers.push(("Request-ID", format!("08{}-0", letters::<22>().to_uppercase())));
    headers.push(("User-Agent", "Mozilla/4.0".to_owned()));
    (row.url.clone(), headers, body)
}

fn replace(headers: &mut [(&'static str, String)], name: &str, value: String) {
    for header in headers.iter_mut().filter(|header| header.0 == name) {
        header.1 = value.clone();
    }
}
