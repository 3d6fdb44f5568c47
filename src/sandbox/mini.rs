//! The mini-program's server API as HTTP: which call is meant, its token, and the shape of its answers.
//! A failing JSON answer is HTTP 200 with an errcode.

use std::sync::Arc;

use serde_json::{Value, json};

use super::faults::FaultKind;
use super::keys::letters;
use super::server::{Call, Reply};
use super::{World, login, messages, orders, qr, shipping, tokens};

/// An errcode, and what the errmsg says before its rid.
#[derive(Debug)]
pub struct Refusal(pub i64, pub String);

impl Refusal {
    pub fn new(errcode: i64, errmsg: impl Into<String>) -> Self {
        Self(errcode, errmsg.into())
    }
}

impl From<sqlx::Error> for Refusal {
    fn from(error: sqlx::Error) -> Self {
        tracing::error!(%error, "the sandbox's database refused");
        Self::new(-1, "system error")
    }
}

/// What a call answers: a JSON object, or an image.
pub enum Body {
    Json(Value),
    Jpeg(Vec<u8>),
}

pub type Answer = Result<Body, Refusal>;

/// `errcode: 0` and more.
pub fn ok(mut more: Value) -> Answer {
    more["errcode"] = json!(0);
    more["errmsg"] = json!("ok");
    Ok(Body::Json(more))
}

/// The JSON object in a POST body.
pub fn body(call: &Call) -> Result<Value, Refusal> {
    if call.body.is_empty() {
        return Err(Refusal::new(44002, "empty post data"));
    }
    match serde_json::from_slice::<Value>(&call.body) {
        Ok(value) if value.is_object() => Ok(value),
        _ => Err(Refusal::new(47001, "data format error")),
    }
}

/// Answers one request. An unknown path is 404 without a body.
pub async fn answer(world: &Arc<World>, call: &Call) -> Reply {
    let Some(mut result) = perform(world, call).await else {
        return Reply { status: 404, headers: Vec::new(), body: Vec::new() };
    };
    if result.is_ok() && world.faults.strikes(FaultKind::ErrorAfterWork, call.path()) {
        result = Err(Refusal::new(-1, "system error"));
    }
    let (kind, body) = match result {
        Ok(Body::Json(value)) => ("application/json; encoding=utf-8", value.to_string().into_bytes()),
        Ok(Body::Jpeg(bytes)) => ("image/jpeg", bytes),
        Err(Refusal(errcode, errmsg)) => {
            let rid = letters::<24>();
            let rid = crate::platform::crypto::hex(&crate::platform::crypto::sha1(rid.as_bytes()));
            let errmsg = format!("{errmsg} rid: {}-{}-{}", &rid[..8], &rid[8..16], &rid[16..24]);
            let body = json!({ "errcode": errcode, "errmsg": errmsg });
            ("application/json; encoding=utf-8", body.to_string().into_bytes())
        }
    };
    Reply { status: 200, headers: vec![("Content-Type", kind.to_owned())], body }
}

/// Calls that carry no token come first. None: no such path.
async fn perform(world: &Arc<World>, call: &Call) -> Option<Answer> {
    let path = call.path();
    let known = TABLE.iter().find(|(known, _)| *known == path)?;
    if world.faults.strikes(FaultKind::WxBusy, path) {
        return Some(Err(Refusal::new(-1, "system error")));
    }
    if world.faults.strikes(FaultKind::RateLimit, path) {
        return Some(Err(Refusal::new(
            45011,
            "api minute-quota reach limit, must slower, retry next minute",
        )));
    }
    if known.1 == "POST" && call.method != "POST" {
        return Some(Err(Refusal::new(43002, "require POST method")));
    }
    Some(match path {
        "/sns/jscode2session" => login::code2session(world, call).await,
        "/cgi-bin/token" => tokens::token(world, call).await,
        "/cgi-bin/stable_token" => tokens::stable_token(world, call).await,
        _ => match tokens::check(world, call).await {
            Ok(()) => with_token(world, call, path).await,
            Err(refusal) => Err(refusal),
        },
    })
}

/// Every path, and its method.
const TABLE: &[(&str, &str)] = &[
    ("/sns/jscode2session", "GET"),
    ("/cgi-bin/token", "GET"),
    ("/cgi-bin/stable_token", "POST"),
    ("/wxa/business/getuserphonenumber", "POST"),
    ("/wxa/checksession", "GET"),
    ("/wxa/resetusersessionkey", "GET"),
    ("/cgi-bin/message/subscribe/send", "POST"),
    ("/wxa/getwxacodeunlimit", "POST"),
    ("/wxa/sec/order/upload_shipping_info", "POST"),
    ("/wxa/sec/order/get_order", "POST"),
    ("/wxa/sec/order/get_order_list", "POST"),
    ("/wxa/sec/order/notify_confirm_receive", "POST"),
    ("/wxa/sec/order/is_trade_managed", "POST"),
    ("/cgi-bin/express/delivery/open_msg/get_delivery_list", "POST"),
];

async fn with_token(world: &Arc<World>, call: &Call, path: &str) -> Answer {
    match path {
        "/wxa/business/getuserphonenumber" => login::phone_number(world, call).await,
        "/wxa/checksession" => login::check_session(world, call).await,
        "/wxa/resetusersessionkey" => login::reset_session_key(world, call).await,
        "/cgi-bin/message/subscribe/send" => messages::send(world, call).await,
        "/wxa/getwxacodeunlimit" => qr::unlimited(call),
        "/wxa/sec/order/upload_shipping_info" => shipping::upload(world, call).await,
        "/wxa/sec/order/get_order" => orders::get(world, call).await,
        "/wxa/sec/order/get_order_list" => orders::list(world, call).await,
        "/wxa/sec/order/notify_confirm_receive" => orders::notify_confirm_receive(world, call).await,
        "/wxa/sec/order/is_trade_managed" => orders::is_trade_managed(call),
        _ => orders::delivery_companies(call),
    }
}
