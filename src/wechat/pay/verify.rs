//! Is it WeChat Pay that speaks? The headers of an answer or a notice, the keys, the clock.
//! Source: pay.weixin.qq.com, merchant doc 4013053249.

use std::collections::HashMap;

use super::sign::ALGORITHM;
use crate::kernel::{Millis, minute_ms};
use crate::platform::crypto::RsaVerifier;

/// A message this far from our clock, or farther, is refused.
const SKEW_MAX_MS: Millis = minute_ms(5);
const PUBLIC_KEY_PREFIX: &str = "PUB_KEY_ID_";

/// Why a message is not taken as WeChat Pay's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    #[error("the Wechatpay-* headers are missing or malformed")]
    Headers,
    #[error("the signature type is not WECHATPAY2-SHA256-RSA2048")]
    SignatureType,
    /// The clocks differ, or the message is replayed.
    #[error("its time is {skew_s} s away from our clock, 300 s or more")]
    Stale { skew_s: u64 },
    #[error("no key is held for its Wechatpay-Serial")]
    UnknownSerial,
    #[error("the signature does not fit")]
    Signature,
}

/// The signature headers of a notice or an answer. Absent ones are empty and never pass.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NoticeHeaders {
    pub timestamp: String,
    pub nonce: String,
    pub serial: String,
    pub signature: String,
    /// Absent (empty) means RSA.
    pub signature_type: String,
}

impl NoticeHeaders {
    /// Reads the headers by name; `get` answers None for an absent one.
    pub fn read<'a>(get: impl Fn(&str) -> Option<&'a str>) -> Self {
        let text = |name| get(name).unwrap_or_default().to_owned();
        Self {
            timestamp: text("Wechatpay-Timestamp"),
            nonce: text("Wechatpay-Nonce"),
            serial: text("Wechatpay-Serial"),
            signature: text("Wechatpay-Signature"),
            signature_type: text("Wechatpay-Signature-Type"),
        }
    }

    /// The three lines that are signed; the body line of a 204 is empty.
    pub fn message(&self, body: &[u8]) -> Vec<u8> {
        [self.timestamp.as_bytes(), b"\n", self.nonce.as_bytes(), b"\n", body, b"\n"].concat()
    }

    /// Is the message's time within five minutes of ours?
    pub fn check_fresh(&self, now_ms: Millis) -> Result<(), VerifyError> {
        let digits = !self.timestamp.is_empty() && self.timestamp.bytes().all(|byte| byte.is_ascii_digit());
        let stamp_s: i64 =
            digits.then(|| self.timestamp.parse().ok()).flatten().ok_or(VerifyError::Headers)?;
        let skew_s = stamp_s.abs_diff(now_ms.div_euclid(1_000));
        if skew_s >= SKEW_MAX_MS.unsigned_abs() / 1_000 {
            return Err(VerifyError::Stale { skew_s });
        }
        Ok(())
    }
}

#[derive(Clone)]
struct Key {
    verifier: RsaVerifier,
    /// When it ends; a public key never does.
    end_ms: Option<Millis>,
}

/// Every key that WeChat Pay may sign with, by serial: public keys and platform certificates side by side,
/// because during a merchant's change from one to the other both kinds of signature arrive.
#[derive(Clone, Default)]
pub struct Keyring(HashMap<String, Key>);

impl Keyring {
    /// Adds a public key by its id (no end), or a certificate's key by its serial.
    pub fn insert(&mut self, serial: &str, verifier: RsaVerifier, end_ms: Option<Millis>) {
        self.0.insert(canonical(serial), Key { verifier, end_ms });
    }

    pub fn holds(&self, serial: &str) -> bool {
        self.0.contains_key(&canonical(serial))
    }

    /// Serials and ends, in order.
    pub fn list(&self) -> Vec<(String, Option<Millis>)> {
        let mut list: Vec<_> = self.0.iter().map(|(serial, key)| (serial.clone(), key.end_ms)).collect();
        list.sort();
        list
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Forgets certificates that have ended.
    pub fn prune(&mut self, now_ms: Millis) {
        self.0.retain(|_, key| key.end_ms.is_none_or(|end_ms| now_ms < end_ms));
    }

    /// Takes over everything that `other` holds.
    pub fn merge(&mut self, other: Keyring) {
        self.0.extend(other.0);
    }

    /// Checks signature type, key and signature, at no particular time.
    pub fn verify_signature(&self, headers: &NoticeHeaders, body: &[u8]) -> Result<(), VerifyError> {
        self.key(headers).and_then(|key| check_signature(key, headers, body))
    }

    /// Checks everything: the clock, the signature type, a key that has not ended, the signature.
    pub fn verify(&self, headers: &NoticeHeaders, body: &[u8], now_ms: Millis) -> Result<(), VerifyError> {
        let key = self.key(headers)?;
        headers.check_fresh(now_ms)?;
        if key.end_ms.is_some_and(|end_ms| end_ms <= now_ms) {
            return Err(VerifyError::UnknownSerial);
        }
        check_signature(key, headers, body)
    }

    fn key(&self, headers: &NoticeHeaders) -> Result<&Key, VerifyError> {
        let plain = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
        if ![&headers.timestamp, &headers.nonce, &headers.serial].into_iter().all(|text| plain(text)) {
            return Err(VerifyError::Headers);
        }
        let kind = headers.signature_type.as_str();
        if !kind.is_empty() && kind.strip_prefix("WECHATPAY2-") != Some(ALGORITHM) {
            return Err(VerifyError::SignatureType);
        }
        self.0.get(&canonical(&headers.serial)).ok_or(VerifyError::UnknownSerial)
    }
}

fn check_signature(key: &Key, headers: &NoticeHeaders, body: &[u8]) -> Result<(), VerifyError> {
    key.verifier.verify(&headers.message(body), &headers.signature).map_err(|_| VerifyError::Signature)
}

/// Certificate serials are hexadecimal numbers: case and leading zeros say nothing. Anything else, like the
/// id of a public key, is taken exactly as it is.
pub(super) fn canonical(serial: &str) -> String {
    if !serial.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return serial.to_owned();
    }
    serial.trim_start_matches('0').to_ascii_uppercase()
}

/// Does it look like the id of a WeChat Pay public key?
pub(super) fn is_public_key_id(id: &str) -> bool {
    id.strip_prefix(PUBLIC_KEY_PREFIX).is_some_and(|rest| {
        !rest.is_empty() && rest.len() <= 64 && rest.bytes().all(|byte| byte.is_ascii_alphanumeric())
    })
}
