//! A notice: its envelope, the encrypted resource, and what it says. Source: pay.weixin.qq.com, merchant
//! docs 4012791902 (payment), 4012791906 (refund), 4012071382 (decryption).

use serde::{Deserialize, Serialize};

use super::types::{RefundNotice, Transaction};
use super::verify::{Keyring, NoticeHeaders, VerifyError};
use crate::kernel::Millis;
use crate::platform::crypto;
use crate::wechat::guarded_debug;

/// Something encrypted with the APIv3 key.
#[derive(Debug, Clone, Deserialize)]
pub struct Resource {
    pub algorithm: String,
    pub nonce: String,
    /// May be absent.
    #[serde(default)]
    pub associated_data: Option<String>,
    /// Base64, with the tag at its end.
    pub ciphertext: String,
}

/// Why a notice is refused. Answer 4xx: WeChat sends the right one again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoticeError {
    #[error("not signed by WeChat Pay: {0}")]
    Unverified(#[from] VerifyError),
    #[error("the notice is not understood: {0}")]
    Malformed(&'static str),
    #[error("the notice cannot be decrypted with this APIv3 key")]
    Decrypt,
}

/// A notice after decryption, not yet read.
#[derive(Clone)]
pub struct OpenedNotice {
    pub id: String,
    pub event_type: String,
    pub plaintext: String,
}
guarded_debug!(OpenedNotice: id, event_type);

/// A verified notice. The same one comes several times: `id` is what makes it one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Notice {
    pub id: String,
    pub event_type: String,
    pub resource: NoticeResource,
}

#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub enum NoticeResource {
    /// `TRANSACTION.*`
    Transaction(Transaction),
    /// `REFUND.*`
    Refund(RefundNotice),
    /// Any other event, with its decrypted JSON.
    Other(String),
}

impl std::fmt::Debug for NoticeResource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Transaction(transaction) => transaction.fmt(f),
            Self::Refund(refund) => refund.fmt(f),
            Self::Other(_) => f.write_str("Other"),
        }
    }
}

/// Verifies, decrypts and reads a notice as it arrived at `now_ms`.
pub fn parse(
    keys: &Keyring,
    apiv3_key: &[u8],
    headers: &NoticeHeaders,
    body: &[u8],
    now_ms: Millis,
) -> Result<Notice, NoticeError> {
    keys.verify(headers, body, now_ms)?;
    read(open(apiv3_key, body)?)
}

/// Decrypts a notice whose signature has been verified.
pub fn open(apiv3_key: &[u8], body: &[u8]) -> Result<OpenedNotice, NoticeError> {
    #[derive(Deserialize)]
    struct Envelope {
        id: String,
        event_type: String,
        resource: Resource,
    }
    let envelope: Envelope =
        serde_json::from_slice(body).map_err(|_| NoticeError::Malformed("not the envelope"))?;
    if envelope.id.is_empty() {
        return Err(NoticeError::Malformed("it has no id"));
    }
    let plain = open_resource(apiv3_key, &envelope.resource).map_err(|_| NoticeError::Decrypt)?;
    let plaintext = String::from_utf8(plain).map_err(|_| NoticeError::Malformed("not UTF-8"))?;
    Ok(OpenedNotice { id: envelope.id, event_type: envelope.event_type, plaintext })
}

/// Reads a decrypted notice by its event type.
pub fn read(opened: OpenedNotice) -> Result<Notice, NoticeError> {
    let malformed = |_| NoticeError::Malformed("a member is missing or has another type");
    let plain = opened.plaintext.as_bytes();
    let resource = match opened.event_type.split('.').next() {
        Some("TRANSACTION") => NoticeResource::Transaction(Transaction::from_wire(plain).map_err(malformed)?),
        Some("REFUND") => NoticeResource::Refund(RefundNotice::from_wire(plain).map_err(malformed)?),
        _ => NoticeResource::Other(opened.plaintext),
    };
    Ok(Notice { id: opened.id, event_type: opened.event_type, resource })
}

/// Opens AEAD_AES_256_GCM. The key has exactly 32 bytes, the nonce 12.
pub fn open_resource(apiv3_key: &[u8], resource: &Resource) -> Result<Vec<u8>, crypto::CryptoError> {
    if resource.algorithm != "AEAD_AES_256_GCM" {
        return Err(crypto::CryptoError::Decrypt);
    }
    let aad = resource.associated_data.as_deref().unwrap_or_default();
    let sealed = crypto::from_base64(&resource.ciphertext)?;
    crypto::aes_gcm_open(apiv3_key, resource.nonce.as_bytes(), aad.as_bytes(), &sealed)
}
