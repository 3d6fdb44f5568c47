//! What the mini-program hands over signed or encrypted with the session key. Pure functions.
//! Source: developers.weixin.qq.com, open-ability/signature.

use serde_json::Value;

use crate::platform::crypto;

/// Why `encryptedData` was refused. One word for every damage, so that it is no padding oracle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DataError {
    #[error("the data cannot be decrypted with this session key")]
    Decrypt,
    #[error("the data is for another app")]
    OtherApp,
}

/// Opens `encryptedData`: the JSON text, whose watermark names `appid`. `session_key` and `iv` are base64.
pub fn decrypt_user_data(
    appid: &str,
    session_key: &str,
    iv: &str,
    encrypted_data: &str,
) -> Result<String, DataError> {
    let decode = |text| crypto::from_base64(text).map_err(|_| DataError::Decrypt);
    let key = decode(session_key)?;
    if key.len() != 16 {
        return Err(DataError::Decrypt);
    }
    let plain =
        crypto::aes_cbc_open(&key, &decode(iv)?, &decode(encrypted_data)?).map_err(|_| DataError::Decrypt)?;
    let text = String::from_utf8(plain).map_err(|_| DataError::Decrypt)?;
    let value: Value = serde_json::from_str(&text).map_err(|_| DataError::Decrypt)?;
    if value["watermark"]["appid"] == appid { Ok(text) } else { Err(DataError::OtherApp) }
}

/// The `signature` that comes with `rawData`: lower-case hex SHA-1 of the data and the key's text.
pub fn raw_data_signature(raw_data: &str, session_key: &str) -> String {
    crypto::hex(&crypto::sha1(format!("{raw_data}{session_key}").as_bytes()))
}

/// The proof of a session: lower-case hex HMAC-SHA256, keyed with the session key as text, not decoded.
pub fn session_signature(session_key: &str, data: &str) -> String {
    crypto::hex(&crypto::hmac_sha256(session_key.as_bytes(), data.as_bytes()))
}
