//! The mini-program server API (`https://api.weixin.qq.com`): login, phone number, subscribe messages, QR
//! codes, shipping information. Source: developers.weixin.qq.com, OpenApiDoc.

mod data;
mod error;
mod shipping;
mod subscribe;
#[cfg(test)]
mod tests;
mod token;

use std::sync::Arc;
use std::time::Duration;

use reqwest::{Method, Request, Url, header};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

pub use data::{DataError, decrypt_user_data, raw_data_signature, session_signature};
pub use error::MiniError;
pub use shipping::{Logistics, ManagedOrder, OrderKey, ShippingInfo, ShippingParcel};
pub use subscribe::{SubscribeMessage, fit, message_amount, message_time};

use super::http::{self, Answer, Http};
use super::{Cause, guarded_debug};
use crate::kernel::{Clock, Failure, Result};

pub struct MiniOptions {
    /// `https://api.weixin.qq.com`, or the sandbox.
    pub base_url: String,
    pub appid: String,
    pub secret: String,
    /// For a whole call, with its token and its one repeat: 1 to 60000 ms.
    pub timeout_ms: u64,
}

/// The client. Clones share the connections and the access token.
#[derive(Clone)]
pub struct Mini(Arc<Inner>);

struct Inner {
    http: Http,
    base: Url,
    appid: String,
    secret: String,
    timeout: Duration,
    clock: Clock,
    tokens: token::Tokens,
}

/// Who logged in. The session key stays on the server.
#[derive(Clone, Deserialize)]
pub struct MiniSession {
    pub openid: String,
    pub session_key: String,
    /// Only if the app belongs to an Open Platform account.
    #[serde(default)]
    pub unionid: Option<String>,
}
guarded_debug!(MiniSession:);

#[derive(Clone)]
pub struct PhoneNumber {
    /// Without the country code.
    pub pure: String,
    /// Digits: `86`.
    pub country_code: String,
}
guarded_debug!(PhoneNumber: country_code);

#[derive(Clone)]
pub struct Image {
    pub content_type: String,
    pub bytes: Vec<u8>,
}
guarded_debug!(Image: content_type);

/// A courier that WeChat knows.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct DeliveryCompany {
    #[serde(rename = "delivery_id")]
    pub id: String,
    #[serde(rename = "delivery_name")]
    pub name: String,
}

impl Mini {
    pub fn new(options: MiniOptions, clock: Clock) -> Result<Self> {
        for (name, text) in [("appid", &options.appid), ("secret", &options.secret)] {
            if text.trim().is_empty() {
                return Err(Failure::invalid(format!("/{name}"), format!("{name}: must not be empty")));
            }
        }
        let timeout = http::timeout(options.timeout_ms, "timeout_ms")?;
        Ok(Self(Arc::new(Inner {
            http: Http::new(timeout)?,
            base: http::base_url(&options.base_url, "base_url")?,
            timeout,
            appid: options.appid,
            secret: options.secret,
            clock,
            tokens: token::Tokens::default(),
        })))
    }

    pub fn appid(&self) -> &str {
        &self.0.appid
    }

    /// Exchanges the code of `wx.login`, which works once and for 5 minutes.
    pub async fn code2session(&self, code: &str) -> Result<MiniSession, MiniError> {
        let mut url = self.url(["sns", "jscode2session"]);
        url.query_pairs_mut()
            .append_pair("appid", &self.0.appid)
            .append_pair("secret", &self.0.secret)
            .append_pair("js_code", code)
            .append_pair("grant_type", "authorization_code");
        let answer = self.bounded(async { Ok(self.0.http.send(Request::new(Method::GET, url)).await?) });
        let session: MiniSession = parse(answer.await?)?;
        if session.openid.is_empty() || session.session_key.is_empty() {
            return Err(MiniError::unreadable("no openid or session key in it"));
        }
        Ok(session)
    }

    /// Exchanges the code of the `getPhoneNumber` button, which is not the login code.
    pub async fn phone_number(&self, code: &str) -> Result<PhoneNumber, MiniError> {
        #[derive(Deserialize)]
        struct Body {
            phone_info: Info,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Info {
            pure_phone_number: String,
            country_code: Value,
            watermark: Value,
        }
        let body = json!({ "code": code }).to_string();
        let info =
            parse::<Body>(self.call(["wxa", "business", "getuserphonenumber"], body).await?)?.phone_info;
        if info.watermark["appid"] != self.0.appid {
            return Err(MiniError::unreadable("the phone number was made for another app"));
        }
        let country_code = match info.country_code {
            Value::String(code) => code,
            other => other.to_string(),
        };
        Ok(PhoneNumber { pure: info.pure_phone_number, country_code })
    }

    /// Sends one subscribe message; it uses up one permission of the user.
    pub async fn send_subscribe_message(&self, message: &SubscribeMessage) -> Result<(), MiniError> {
        self.done(["cgi-bin", "message", "subscribe", "send"], message.body()).await
    }

    /// The round code that opens `page` with `scene` (at most 32 characters). `width` is 280 to 1280 px.
    pub async fn qr_code_unlimited(
        &self,
        scene: &str,
        page: Option<&str>,
        width: u32,
        env_version: &str,
    ) -> Result<Image, MiniError> {
        let mut body = json!({ "scene": scene, "width": width, "env_version": env_version });
        if let Some(page) = page {
            body["page"] = page.into();
            // Only a published page can be checked.
            body["check_path"] = (env_version == "release").into();
        }
        let answer = self.call(["wxa", "getwxacodeunlimit"], body.to_string()).await?;
        let content_type = match answer.body.as_slice() {
            [0xff, 0xd8, ..] => "image/jpeg",
            [0x89, b'P', b'N', b'G', ..] => "image/png",
            _ => {
                parse::<Value>(answer)?;
                return Err(MiniError::unreadable("neither an image nor a refusal"));
            }
        };
        Ok(Image { content_type: content_type.to_owned(), bytes: answer.body })
    }

    /// Tells WeChat how a payment is shipped. "Nothing changed" is a success.
    pub async fn upload_shipping_info(&self, info: &ShippingInfo) -> Result<(), MiniError> {
        match self.done(["wxa", "sec", "order", "upload_shipping_info"], info.body()).await {
            Err(MiniError::Answer { errcode: 10060023, .. }) => Ok(()),
            other => other,
        }
    }

    /// How a paid order stands in WeChat's order management: has its money been settled?
    pub async fn managed_order(&self, key: &OrderKey) -> Result<ManagedOrder, MiniError> {
        #[derive(Deserialize)]
        struct Body {
            order: ManagedOrder,
        }
        let path = ["wxa", "sec", "order", "get_order"];
        Ok(parse::<Body>(self.call(path, key.query()).await?)?.order)
    }

    /// The couriers that shipping information can name.
    pub async fn delivery_companies(&self) -> Result<Vec<DeliveryCompany>, MiniError> {
        #[derive(Deserialize)]
        struct Body {
            delivery_list: Vec<DeliveryCompany>,
        }
        let path = ["cgi-bin", "express", "delivery", "open_msg", "get_delivery_list"];
        Ok(parse::<Body>(self.call(path, "{}".to_owned()).await?)?.delivery_list)
    }

    /// Are address, app id and secret right? Gets an access token.
    pub async fn ping(&self) -> Result<(), MiniError> {
        self.bounded(async { self.0.tokens.get(self, &self.0.clock, None).await.map(drop) }).await
    }

    fn url<const N: usize>(&self, path: [&str; N]) -> Url {
        http::join(&self.0.base, path)
    }

    /// A call whose success says nothing more.
    async fn done<const N: usize>(&self, path: [&str; N], body: String) -> Result<(), MiniError> {
        parse::<Value>(self.call(path, body).await?).map(drop)
    }

    /// A call that carries the token. A refused token is replaced once and the call repeated once.
    async fn call<const N: usize>(&self, path: [&str; N], body: String) -> Result<Answer, MiniError> {
        self.bounded(async {
            let token = self.0.tokens.get(self, &self.0.clock, None).await?;
            let answer = self.post(self.with_token(path, &token), body.clone()).await?;
            if !refusal(&answer).is_some_and(|error| error.is_token_refused()) {
                return Ok(answer);
            }
            let token = self.0.tokens.get(self, &self.0.clock, Some(&token)).await?;
            self.post(self.with_token(path, &token), body).await
        })
        .await
    }

    fn with_token<const N: usize>(&self, path: [&str; N], token: &str) -> Url {
        let mut url = self.url(path);
        url.query_pairs_mut().append_pair("access_token", token);
        url
    }

    async fn post(&self, url: Url, body: String) -> Result<Answer, MiniError> {
        let mut request = Request::new(Method::POST, url);
        let json = header::HeaderValue::from_static("application/json");
        request.headers_mut().insert(header::CONTENT_TYPE, json);
        *request.body_mut() = Some(body.into());
        Ok(self.0.http.send(request).await?)
    }

    async fn bounded<T>(&self, work: impl Future<Output = Result<T, MiniError>>) -> Result<T, MiniError> {
        tokio::time::timeout(self.0.timeout, work).await.unwrap_or(Err(Cause::Timeout.into()))
    }
}

/// The refusal in an answer, if it is one.
fn refusal(answer: &Answer) -> Option<MiniError> {
    #[derive(Deserialize)]
    struct Refusal {
        errcode: i64,
        #[serde(default)]
        errmsg: String,
    }
    let refusal: Refusal = serde_json::from_slice(&answer.body).ok()?;
    (refusal.errcode != 0).then(|| MiniError::answer(refusal.errcode, &refusal.errmsg))
}

/// The JSON of a success.
fn parse<T: DeserializeOwned>(answer: Answer) -> Result<T, MiniError> {
    if !answer.is_success() {
        return Err(Cause::Status(answer.status).into());
    }
    if let Some(error) = refusal(&answer) {
        return Err(error);
    }
    serde_json::from_slice(&answer.body).map_err(|_| MiniError::unreadable("not the JSON that was expected"))
}
