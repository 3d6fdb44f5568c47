//! WeChat Pay API v3 for JSAPI payments (mini-program): a small signed client. Every request is signed,
//! every 2xx answer and every notice is verified before a byte of it is believed, and an outcome that is
//! not known is said to be unknown. Source: pay.weixin.qq.com, merchant docs.

mod calls;
pub mod certificates;
mod error;
pub mod notice;
pub mod sign;
#[cfg(test)]
mod tests;
mod transport;
mod types;
mod verify;

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use reqwest::Url;

pub use error::PayError;
pub use notice::{Notice, NoticeError, NoticeResource};
pub use sign::PaymentParams;
pub use types::{
    Prepay, RefundAnswer, RefundCall, RefundNotice, RefundOf, RefundStatus, TradeState, Transaction,
};
pub use verify::{Keyring, NoticeHeaders, VerifyError};

use super::http::{self, Http};
use crate::kernel::{Clock, Failure, Millis, Result, hour_ms, minute_ms};
use crate::platform::crypto::{RsaSigner, RsaVerifier};

/// Certificates are polled below WeChat's 12 h.
const CERTIFICATES_REFRESH_MS: Millis = hour_ms(10);
/// Somebody who sends unknown serials makes us ask at most this often.
const CERTIFICATES_INTERVAL_MS: Millis = minute_ms(1);

pub struct PayOptions {
    /// `https://api.mch.weixin.qq.com`, or the sandbox.
    pub base_url: String,
    /// Used when no connection to the base URL can be made: `https://api2.mch.weixin.qq.com`.
    pub fallback_url: Option<String>,
    pub appid: String,
    pub mchid: String,
    /// Of the merchant's certificate: 8 to 64 hex digits.
    pub merchant_serial: String,
    /// PKCS#8.
    pub merchant_private_key_pem: String,
    /// Exactly 32 bytes.
    pub apiv3_key: String,
    /// WeChat Pay public keys: (`PUB_KEY_ID_…`, PEM). WeChat is asked to sign with the first.
    pub public_keys: Vec<(String, String)>,
    /// Download platform certificates too?
    pub platform_certificates: bool,
    /// For a whole call: 1 to 60000 ms.
    pub timeout_ms: u64,
}

/// The client of one merchant and app. Clones share connections and keys.
#[derive(Clone)]
pub struct Pay(Arc<Inner>);

struct Inner {
    http: Http,
    bases: Vec<Url>,
    appid: String,
    mchid: String,
    merchant_serial: String,
    signer: RsaSigner,
    apiv3_key: String,
    /// The id of the key that WeChat is asked to sign with; none in certificate mode.
    preferred_key: Option<String>,
    platform_certificates: bool,
    timeout: Duration,
    clock: Clock,
    keys: RwLock<Keys>,
    /// Held while certificates are downloaded, so that it is done once.
    downloading: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Keys {
    ring: Keyring,
    /// The certificate that ends last, to ask for where no public key is configured.
    newest_certificate: Option<String>,
    /// A notice named a serial that nobody knows yet.
    wanted: bool,
    tried_ms: Option<Millis>,
    refreshed_ms: Option<Millis>,
}

fn refuse(option: &str, why: impl std::fmt::Display) -> Failure {
    Failure::invalid(format!("/{option}"), format!("{option}: {why}"))
}

impl Pay {
    /// Refuses options with which no call or no notice could ever succeed, naming the option.
    pub fn new(options: PayOptions, clock: Clock) -> Result<Self> {
        if options.appid.is_empty() {
            return Err(refuse("appid", "must not be empty"));
        }
        if !(1..=32).contains(&options.mchid.len()) || !options.mchid.bytes().all(|b| b.is_ascii_digit()) {
            return Err(refuse("mchid", "must be 1 to 32 digits"));
        }
        let serial = options.merchant_serial.trim().to_ascii_uppercase();
        if !(8..=64).contains(&serial.len()) || !serial.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(refuse("merchant_serial", "must be 8 to 64 hex digits (the certificate's serial)"));
        }
        if options.apiv3_key.len() != 32 {
            return Err(refuse("apiv3_key", "must be exactly 32 bytes"));
        }
        let signer = RsaSigner::from_pem(&options.merchant_private_key_pem)
            .map_err(|error| refuse("merchant_private_key_pem", error))?;
        let mut ring = Keyring::default();
        for (id, pem) in &options.public_keys {
            if !verify::is_public_key_id(id) {
                return Err(refuse("public_keys", "an id must be PUB_KEY_ID_ and digits"));
            }
            let key = RsaVerifier::from_pem(pem).map_err(|error| refuse("public_keys", error))?;
            ring.insert(id, key, None);
        }
        if ring.is_empty() && !options.platform_certificates {
            return Err(refuse("public_keys", "give one, or turn platform_certificates on"));
        }
        let mut bases = vec![http::base_url(&options.base_url, "base_url")?];
        if let Some(url) = &options.fallback_url {
            bases.push(http::base_url(url, "fallback_url")?);
        }
        let timeout = http::timeout(options.timeout_ms, "timeout_ms")?;
        Ok(Self(Arc::new(Inner {
            http: Http::new(timeout)?,
            bases,
            appid: options.appid,
            mchid: options.mchid,
            merchant_serial: serial,
            signer,
            apiv3_key: options.apiv3_key,
            preferred_key: options.public_keys.into_iter().next().map(|(id, _)| id),
            platform_certificates: options.platform_certificates,
            timeout,
            clock,
            keys: RwLock::new(Keys { ring, ..Keys::default() }),
            downloading: tokio::sync::Mutex::default(),
        })))
    }

    pub fn mchid(&self) -> &str {
        &self.0.mchid
    }

    pub fn appid(&self) -> &str {
        &self.0.appid
    }

    /// Verifies a notice and reads it. `body` is exactly what arrived. A serial that is not known is refused
    /// and remembered: see [`Pay::wants_certificates`].
    pub fn parse_notice(&self, headers: &NoticeHeaders, body: &[u8]) -> Result<Notice, NoticeError> {
        let now_ms = self.0.clock.now_ms();
        // The keys are copied out: nothing slow happens under the lock.
        let ring = self.ring();
        let parsed = notice::parse(&ring, self.0.apiv3_key.as_bytes(), headers, body, now_ms);
        if let Err(NoticeError::Unverified(VerifyError::UnknownSerial)) = &parsed {
            self.0.keys.write().unwrap_or_else(PoisonError::into_inner).wanted = true;
        }
        parsed
    }

    /// Reads a notice that [`Pay::parse_notice`] accepted when it arrived and that was stored since: the
    /// signature's five minutes are over by then, the APIv3 key still authenticates the content.
    pub fn reopen_notice(&self, body: &[u8]) -> Result<Notice, NoticeError> {
        notice::read(notice::open(self.0.apiv3_key.as_bytes(), body)?)
    }

    /// Should a background task call [`Pay::refresh_certificates`] now? Yes if none were loaded yet, a notice
    /// named an unknown one, or they were last loaded 10 h ago; at most once a minute.
    pub fn wants_certificates(&self) -> bool {
        let now_ms = self.0.clock.now_ms();
        let keys = self.0.keys.read().unwrap_or_else(PoisonError::into_inner);
        let old = keys.refreshed_ms.is_none_or(|at| now_ms - at >= CERTIFICATES_REFRESH_MS);
        self.0.platform_certificates && (old || keys.wanted) && keys.may_try(now_ms)
    }

    /// The keys that WeChat Pay's signatures are checked with: id or serial, and when each ends.
    pub fn known_keys(&self) -> Vec<(String, Option<Millis>)> {
        self.ring().list()
    }

    fn ring(&self) -> Keyring {
        self.0.keys.read().unwrap_or_else(PoisonError::into_inner).ring.clone()
    }
}

impl Keys {
    fn may_try(&self, now_ms: Millis) -> bool {
        self.tried_ms.is_none_or(|at| now_ms - at >= CERTIFICATES_INTERVAL_MS)
    }
}
