//! Platform certificates: the list of `GET /v3/certificates`. Each is encrypted with the APIv3 key, which
//! is what makes the first download trustworthy. Source: pay.weixin.qq.com, merchant doc 4012551764.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::notice::{Resource, open_resource};
use super::verify::{Keyring, canonical};
use crate::kernel::Millis;
use crate::platform::crypto::{Certificate, CryptoError};

/// A certificate of the platform.
pub struct PlatformCertificate {
    /// Upper-case hex.
    pub serial: String,
    pub pem: String,
    /// When it ends, by the list or by itself, whichever is first: the list moves the end of an old one up.
    pub end_ms: Millis,
    certificate: Certificate,
}

/// Why a list is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertificatesError {
    #[error("not the JSON of a certificate list")]
    Malformed,
    #[error("a certificate cannot be decrypted with this APIv3 key: {0}")]
    Decrypt(CryptoError),
    #[error("a certificate is not usable: {0}")]
    Certificate(CryptoError),
    #[error("a certificate has another serial than the list says")]
    Serial,
}

/// Decrypts and reads the list. One bad entry refuses all of it.
pub fn parse(apiv3_key: &[u8], body: &[u8]) -> Result<Vec<PlatformCertificate>, CertificatesError> {
    #[derive(Deserialize)]
    struct List {
        data: Vec<Entry>,
    }
    #[derive(Deserialize)]
    struct Entry {
        serial_no: String,
        expire_time: Option<String>,
        encrypt_certificate: Resource,
    }
    let value: Value = serde_json::from_slice(body).map_err(|_| CertificatesError::Malformed)?;
    let list: List = serde_json::from_value(trim_names(value)).map_err(|_| CertificatesError::Malformed)?;
    list.data
        .into_iter()
        .map(|entry| {
            let plain =
                open_resource(apiv3_key, &entry.encrypt_certificate).map_err(CertificatesError::Decrypt)?;
            let pem = String::from_utf8(plain).map_err(|_| CertificatesError::Malformed)?;
            let certificate = Certificate::from_pem(&pem).map_err(CertificatesError::Certificate)?;
            if canonical(&certificate.serial) != canonical(entry.serial_no.trim()) {
                return Err(CertificatesError::Serial);
            }
            let listed_ms = entry.expire_time.and_then(|text| text.trim().parse::<jiff::Timestamp>().ok());
            let end_ms =
                listed_ms.map_or(Millis::MAX, |at| at.as_millisecond()).min(certificate.not_after_ms);
            Ok(PlatformCertificate { serial: certificate.serial.clone(), pem, end_ms, certificate })
        })
        .collect()
}

/// The keys of a list.
pub(super) fn keyring(list: &[PlatformCertificate]) -> Keyring {
    let mut keys = Keyring::default();
    for entry in list {
        keys.insert(&entry.serial, entry.certificate.key.clone(), Some(entry.end_ms));
    }
    keys
}

/// The official sample has stray spaces in member names.
fn trim_names(value: Value) -> Value {
    match value {
        Value::Object(members) => Value::Object(
            members
                .into_iter()
                .map(|(name, value)| (name.trim().to_owned(), trim_names(value)))
                .collect::<Map<_, _>>(),
        ),
        Value::Array(items) => Value::Array(items.into_iter().map(trim_names).collect()),
        other => other,
    }
}
