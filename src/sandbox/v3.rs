//! WeChat Pay API v3 as HTTP: which operation is meant, is the request the merchant's, how the answer is
//! signed. The observed order of checks: path and method, headers, clock, signature, then the parameters.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde_json::{Value, json};

use super::faults::FaultKind;
use super::keys::{Signing, letters};
use super::server::{Call, Reply, percent_decode};
use super::{World, demo, pay, refunds, security};

const SCHEME: &str = "WECHATPAY2-SHA256-RSA2048 ";
const CLOCK_SKEW_S: i64 = 300;

/// Why a request is refused, as `{code, message, detail}`. `sub_code` ends the `Request-ID`.
#[derive(Debug)]
pub struct Refusal {
    pub status: u16,
    pub code: &'static str,
    pub message: String,
    pub detail: Option<Value>,
    pub sub_code: u32,
}

impl Refusal {
    pub fn new(status: u16, code: &'static str, message: impl Into<String>, sub_code: u32) -> Self {
        Self { status, code, message: message.into(), detail: None, sub_code }
    }

    /// A business rule says no.
    pub fn invalid_request(message: impl Into<String>, sub_code: u32) -> Self {
        Self::new(400, "INVALID_REQUEST", message, sub_code)
    }

    /// A parameter is wrong: `field` is a JSON pointer (or the name of a URL parameter).
    pub fn param(field: &str, value: Option<&Value>, issue: &str, location: &str) -> Self {
        Self {
            detail: Some(json!({
                "field": field,
                "value": value.cloned().unwrap_or(Value::Null),
                "issue": issue,
                "location": location,
            })),
            ..Self::new(400, "PARAM_ERROR", format!("参数错误：{field} {issue}"), 268_435_461)
        }
    }

    fn sign_error(message: &str) -> Self {
        Self::new(401, "SIGN_ERROR", message, 268_443_699)
    }

    fn system() -> Self {
        Self::new(500, "SYSTEM_ERROR", "系统异常，请用相同参数重新调用", 268_435_457)
    }
}

impl From<sqlx::Error> for Refusal {
    fn from(error: sqlx::Error) -> Self {
        tracing::error!(%error, "the sandbox's database refused");
        Self::system()
    }
}

/// `Ok(None)` is 204.
pub type Answer = Result<Option<Value>, Refusal>;

enum Operation {
    Prepay,
    QueryByNumber(String),
    QueryByTransaction(String),
    Close(String),
    Refund,
    QueryRefund(String),
    Certificates,
    Echo,
}

/// Which operation is meant; otherwise 404 or 405.
fn operation(method: &str, path: &str) -> Result<Operation, u16> {
    let segments: Option<Vec<String>> = path.split('/').skip(1).map(percent_decode).collect();
    let segments = segments.ok_or(404_u16)?;
    let names: Vec<&str> = segments.iter().map(String::as_str).collect();
    let (wanted, operation) = match names.as_slice() {
        ["v3", "pay", "transactions", "jsapi"] => ("POST", Operation::Prepay),
        ["v3", "pay", "transactions", "out-trade-no", number, "close"] => {
            ("POST", Operation::Close((*number).to_owned()))
        }
        ["v3", "pay", "transactions", "out-trade-no", number] => {
            ("GET", Operation::QueryByNumber((*number).to_owned()))
        }
        ["v3", "pay", "transactions", "id", id] => ("GET", Operation::QueryByTransaction((*id).to_owned())),
        ["v3", "refund", "domestic", "refunds"] => ("POST", Operation::Refund),
        ["v3", "refund", "domestic", "refunds", number] => {
            ("GET", Operation::QueryRefund((*number).to_owned()))
        }
        ["v3", "certificates"] => ("GET", Operation::Certificates),
        ["v3", "security", "echo"] => ("POST", Operation::Echo),
        _ => return Err(404),
    };
    if method == wanted { Ok(operation) } else { Err(405) }
}

/// Answers one request to `/v3/…`.
pub async fn answer(world: &Arc<World>, call: &Call) -> Reply {
    let operation = match operation(&call.method, call.path()) {
        Ok(operation) => operation,
        Err(status) => return Reply { status, headers: Vec::new(), body: Vec::new() },
    };
    if let Err(refusal) = verify(world, call) {
        // Seen on the real one: these paths refuse a missing Authorization without a Request-ID.
        let bare = call.path().starts_with("/v3/pay/transactions/") && call.header("Authorization").is_none();
        let mut reply = refused(&refusal);
        if bare {
            reply.headers.retain(|(name, _)| *name != "Request-ID");
        }
        return reply;
    }
    let mut result = if world.faults.strikes(FaultKind::RateLimit, call.path()) {
        Err(Refusal::new(429, "FREQUENCY_LIMITED", "频率超限，请降低频率后重试", 268_447_840))
    } else {
        perform(world, call, operation).await
    };
    if result.is_ok() && world.faults.strikes(FaultKind::ErrorAfterWork, call.path()) {
        result = Err(Refusal::system());
    }
    match result {
        Ok(body) => {
            let (status, body) = match body {
                Some(body) => (200, body.to_string().into_bytes()),
                None => (204, Vec::new()),
            };
            let mut reply = Reply { status, headers: Vec::new(), body };
            if status == 200 {
                reply.headers.push(("Content-Type", "application/json; charset=utf-8".to_owned()));
            }
            reply.headers.push(("Request-ID", request_id(0)));
            sign(world, call, &mut reply);
            reply
        }
        Err(refusal) => {
            let mut reply = refused(&refusal);
            if world.faults.strikes(FaultKind::SignErrors, call.path()) {
                sign(world, call, &mut reply);
            }
            reply
        }
    }
}

async fn perform(world: &Arc<World>, call: &Call, operation: Operation) -> Answer {
    match operation {
        Operation::Prepay => pay::prepay(world, call).await,
        Operation::QueryByNumber(number) => pay::query_by_number(world, call, &number).await,
        Operation::QueryByTransaction(id) => pay::query_by_transaction(world, call, &id).await,
        Operation::Close(number) => pay::close(world, call, &number).await,
        Operation::Refund => refunds::request(world, call).await,
        Operation::QueryRefund(number) => refunds::query(world, &number).await,
        Operation::Certificates => security::certificates(world, call),
        Operation::Echo => security::echo(world, call).await,
    }
}

/// Is this request signed by the merchant, now, over exactly these bytes?
fn verify(world: &World, call: &Call) -> Result<(), Refusal> {
    let transactions = call.path().starts_with("/v3/pay/transactions/");
    let lacks = |name| call.header(name).is_none_or(str::is_empty);
    if lacks("User-Agent") || lacks("Accept") {
        return Err(if transactions {
            Refusal::sign_error("签名信息错误，验签失败")
        } else {
            Refusal::invalid_request("Http头缺少Accept或User-Agent", 268_435_461)
        });
    }
    let malformed = || {
        Refusal::sign_error(if transactions {
            "签名信息错误，验签失败"
        } else {
            "Http头Authorization值格式错误，请参考《微信支付商户REST API签名规则》"
        })
    };
    let token = call.header("Authorization").and_then(Authorization::parse).ok_or_else(malformed)?;
    if token.mchid != demo::MCHID {
        return Err(Refusal::sign_error("商户号不存在"));
    }
    if token.serial_no != demo::MERCHANT_SERIAL {
        return Err(Refusal::sign_error("商户证书序列号有误，请使用签名私钥匹配的证书序列号"));
    }
    let timestamp: i64 = token.timestamp.parse().map_err(|_| malformed())?;
    if (world.clock.now_s() - timestamp).abs() > CLOCK_SKEW_S {
        return Err(Refusal::sign_error("Http头Authorization中的timestamp与发起请求的时间不得超过5分钟"));
    }
    let mut message = Vec::with_capacity(call.body.len() + 256);
    for line in [&call.method, &call.target, &token.timestamp, &token.nonce_str] {
        message.extend_from_slice(line.as_bytes());
        message.push(b'\n');
    }
    message.extend_from_slice(&call.body);
    message.push(b'\n');
    if world.keys.is_merchants(&message, &token.signature) {
        Ok(())
    } else {
        Err(Refusal::sign_error("签名错误，请检查后再试"))
    }
}

/// The five parameters of the `Authorization` header.
#[derive(Default)]
struct Authorization {
    mchid: String,
    serial_no: String,
    timestamp: String,
    nonce_str: String,
    signature: String,
}

impl Authorization {
    /// Any order, comma-separated, double-quoted, each exactly once.
    fn parse(header: &str) -> Option<Self> {
        let mut found = Self::default();
        for parameter in header.strip_prefix(SCHEME)?.split(',') {
            let (name, value) = parameter.split_once('=')?;
            let value = value.strip_prefix('"')?.strip_suffix('"')?;
            let slot = match name {
                "mchid" => &mut found.mchid,
                "serial_no" => &mut found.serial_no,
                "timestamp" => &mut found.timestamp,
                "nonce_str" => &mut found.nonce_str,
                "signature" => &mut found.signature,
                _ => return None,
            };
            if value.is_empty() || !slot.is_empty() {
                return None;
            }
            *slot = value.to_owned();
        }
        let nonce = &found.nonce_str;
        let fits = nonce.len() <= 32 && nonce.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let complete = ![&found.mchid, &found.serial_no, &found.timestamp, nonce, &found.signature]
            .iter()
            .any(|value| value.is_empty());
        (fits && complete).then_some(found)
    }
}

/// The answer to a refused request; it is not signed here.
fn refused(refusal: &Refusal) -> Reply {
    let mut body = json!({ "code": refusal.code, "message": refusal.message });
    if let Some(detail) = &refusal.detail {
        body["detail"] = detail.clone();
    }
    Reply {
        status: refusal.status,
        headers: vec![
            ("Content-Type", "application/json; charset=utf-8".to_owned()),
            ("Request-ID", request_id(refusal.sub_code)),
        ],
        body: body.to_string().into_bytes(),
    }
}

fn request_id(sub_code: u32) -> String {
    format!("08{}-{sub_code}", letters::<22>().to_uppercase())
}

/// Which key signs what goes to a merchant that asked with this `Wechatpay-Serial`.
pub fn signing_for(world: &World, serial: Option<&str>) -> Signing {
    let certificate =
        if world.faults.strikes(FaultKind::RotateCertificate, "") { Signing::Newer } else { Signing::Older };
    if world.faults.strikes(FaultKind::KeyRamp, "") {
        let turn = world.ramp.fetch_xor(true, Ordering::Relaxed);
        return if turn { certificate } else { Signing::PublicKey };
    }
    let asked_for_public_key = serial.is_some_and(|serial| serial.starts_with("PUB_KEY_ID_"));
    if asked_for_public_key || world.faults.strikes(FaultKind::NoPlatformCertificate, "") {
        Signing::PublicKey
    } else {
        certificate
    }
}

/// The word under which a payment or refund remembers how its notifications are signed.
pub fn signing_word(call: &Call) -> &'static str {
    match call.header("Wechatpay-Serial") {
        Some(serial) if serial.starts_with("PUB_KEY_ID_") => "public_key",
        _ => "certificate",
    }
}

fn sign(world: &World, call: &Call, reply: &mut Reply) {
    let signing = signing_for(world, call.header("Wechatpay-Serial"));
    for header in signature_headers(world, signing, &reply.body) {
        reply.headers.push(header);
    }
}

/// `Wechatpay-*` over a body, by this key, now.
pub fn signature_headers(world: &World, signing: Signing, body: &[u8]) -> Vec<(&'static str, String)> {
    let timestamp = world.clock.now_s().to_string();
    let nonce = letters::<32>();
    let mut message = format!("{timestamp}\n{nonce}\n").into_bytes();
    message.extend_from_slice(body);
    message.push(b'\n');
    vec![
        ("Wechatpay-Timestamp", timestamp),
        ("Wechatpay-Nonce", nonce),
        ("Wechatpay-Signature", world.keys.sign(signing, &message)),
        ("Wechatpay-Signature-Type", "WECHATPAY2-SHA256-RSA2048".to_owned()),
        ("Wechatpay-Serial", world.keys.serial(signing).to_owned()),
    ]
}
