//! Subscribe messages: one permission is one message, and every value has its limits.

use serde_json::{Map, Value, json};

use super::faults::FaultKind;
use super::mini::{self, Answer, Refusal};
use super::server::Call;
use super::{World, demo, store};

/// `POST /cgi-bin/message/subscribe/send`
pub async fn send(world: &World, call: &Call) -> Answer {
    let body = mini::body(call)?;
    let openid = body["touser"].as_str().ok_or_else(|| Refusal::new(40003, "invalid openid"))?;
    let template_id = body["template_id"].as_str().unwrap_or_default();
    let template = demo::SUBSCRIBE_TEMPLATES
        .iter()
        .find(|template| template.id == template_id)
        .ok_or_else(|| Refusal::new(40037, "invalid template_id"))?;
    let one_of = |name: &str, words: &[&str]| match &body[name] {
        Value::Null => Ok(()),
        Value::String(word) if words.contains(&word.as_str()) => Ok(()),
        _ => Err(Refusal::new(40097, format!("invalid args: {name}"))),
    };
    one_of("miniprogram_state", &["developer", "trial", "formal"])?;
    one_of("lang", &["zh_CN", "en_US", "zh_HK", "zh_TW"])?;
    let page = match &body["page"] {
        Value::Null => None,
        Value::String(page) if !page.starts_with('/') => Some(page.as_str()),
        _ => return Err(Refusal::new(41030, "invalid page")),
    };
    let data = body["data"].as_object().ok_or_else(|| argument("data is empty"))?;
    check_values(template, data)?;
    let mut tx = world.db.begin().await?;
    if !store::user_exists(&mut tx, openid).await? {
        return Err(Refusal::new(40003, "invalid openid"));
    }
    let used = sqlx::query(
        "UPDATE grants SET credits = credits - 1 WHERE openid = ? AND template_id = ? AND credits > 0",
    )
    .bind(openid)
    .bind(template_id)
    .execute(&mut *tx)
    .await?;
    if used.rows_affected() == 0 || world.faults.strikes(FaultKind::WxRefuseMessage, call.path()) {
        return Err(Refusal::new(43101, "user refuse to accept the msg"));
    }
    sqlx::query("INSERT INTO messages (openid, template_id, page, data, sent_ms) VALUES (?, ?, ?, ?, ?)")
        .bind(openid)
        .bind(template_id)
        .bind(page)
        .bind(Value::Object(data.clone()).to_string())
        .bind(world.clock.now_ms())
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    mini::ok(json!({}))
}

fn argument(what: impl std::fmt::Display) -> Refusal {
    Refusal::new(47003, format!("argument invalid! {what}"))
}

/// Every key of the template, no other, each within its limits.
fn check_values(template: &demo::SubscribeTemplate, data: &Map<String, Value>) -> Result<(), Refusal> {
    if let Some(unknown) = data.keys().find(|key| template.values.iter().all(|(known, _)| known != key)) {
        return Err(argument(format_args!("data.{unknown} is not in the template")));
    }
    for (key, _) in template.values {
        let value = data.get(*key).and_then(|entry| entry["value"].as_str());
        let value = value.ok_or_else(|| argument(format_args!("data.{key}.value is empty")))?;
        if !fits(key, value) {
            return Err(argument(format_args!("data.{key}.value invalid")));
        }
    }
    Ok(())
}

/// The limit of a value is told by the prefix of its key.
fn fits(key: &str, value: &str) -> bool {
    let count = value.chars().count();
    if count == 0 {
        return false;
    }
    let ascii = |most: usize, good: fn(char) -> bool| count <= most && value.chars().all(good);
    match key.trim_end_matches(|c: char| c.is_ascii_digit()) {
        "thing" => count <= 20,
        "number" => ascii(32, |c| c.is_ascii_digit() || c == '.'),
        "letter" => ascii(32, |c| c.is_ascii_alphabetic()),
        "symbol" => ascii(5, |c| !c.is_alphanumeric()),
        "character_string" => ascii(32, |c| c.is_ascii_graphic() || c == ' '),
        "time" | "date" => is_time(value),
        "amount" => is_amount(value),
        "phone_number" => ascii(17, |c| c.is_ascii_digit() || "+-() ".contains(c)),
        "car_number" => count <= 8,
        "name" => count <= if value.is_ascii() { 20 } else { 10 },
        "phrase" => count <= 5 && value.chars().all(|c| !c.is_ascii()),
        _ => count <= 20,
    }
}

/// A date, a 24-hour time, or both; two of them joined by `~`. `2019年10月1日 15:01` is the documented form.
fn is_time(value: &str) -> bool {
    let good = |c: char| c.is_ascii_digit() || "-:/. 年月日时分秒".contains(c);
    let one = |part: &str| {
        let part = part.trim();
        let clock = part.split(' ').next_back().and_then(|clock| clock.split_once(':'));
        let hour = clock.and_then(|(hour, _)| hour.parse::<u8>().ok());
        let has_date = part.contains(['年', '-', '/']);
        !part.is_empty()
            && part.chars().count() <= 32
            && part.chars().all(good)
            && (has_date || clock.is_some())
            && (clock.is_none() || hour.is_some_and(|hour| hour < 24))
    };
    value.split('~').count() <= 2 && value.split('~').all(one)
}

/// One currency sign, up to 10 digits with decimals, and maybe 元.
fn is_amount(value: &str) -> bool {
    let value = value.trim_end_matches('元');
    let number = value.strip_prefix(|c: char| "¥￥$€£".contains(c)).unwrap_or(value);
    let (whole, decimals) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits(whole) && digits(decimals) && whole.len() <= 10
}
