//! Keys at rest: one master key from the configuration, one derived key for each purpose.

use data_encoding::{BASE64URL_NOPAD, HEXLOWER_PERMISSIVE};

use super::crypto::{self, CryptoError};
use crate::kernel::{Failure, Result};

/// Keys derived from `secrets.master_key`.
pub struct Secrets {
    data: [u8; 32],
    index: [u8; 32],
    quote: [u8; 32],
}

impl Secrets {
    /// # Errors
    /// The master key is not 64 hex digits.
    pub fn new(master_key: &str) -> Result<Self> {
        let master =
            HEXLOWER_PERMISSIVE.decode(master_key.trim().as_bytes()).ok().filter(|key| key.len() == 32);
        let Some(master) = master else {
            return Err(Failure::internal("reading secrets.master_key", "it must be 64 hex digits"));
        };
        let derive = |label: &str| {
            let mut key = [0; 32];
            key.copy_from_slice(&crypto::hmac_sha256(&master, label.as_bytes()));
            key
        };
        Ok(Self {
            data: derive("minimall data"),
            index: derive("minimall index"),
            quote: derive("minimall quote"),
        })
    }

    /// Encrypts a column: AES-256-GCM under a random nonce; `purpose` binds it to its column.
    pub fn seal(&self, purpose: &str, plain: &str) -> Result<String, CryptoError> {
        let nonce = crypto::random::<12>();
        let sealed = crypto::aes_gcm_seal(&self.data, nonce, purpose.as_bytes(), plain.as_bytes())?;
        Ok(BASE64URL_NOPAD.encode(&[&nonce[..], &sealed].concat()))
    }

    /// # Errors
    /// Not sealed by this key for this purpose.
    pub fn open(&self, purpose: &str, sealed: &str) -> Result<String, CryptoError> {
        let bytes = BASE64URL_NOPAD.decode(sealed.as_bytes()).map_err(|_| CryptoError::Base64)?;
        let (nonce, sealed) = bytes.split_at_checked(12).ok_or(CryptoError::Decrypt)?;
        let plain = crypto::aes_gcm_open(&self.data, nonce, purpose.as_bytes(), sealed)?;
        String::from_utf8(plain).map_err(|_| CryptoError::Decrypt)
    }

    /// A keyed hash, to look up what is encrypted (phone numbers, openids in gates).
    pub fn index(&self, purpose: &str, value: &str) -> String {
        crypto::hex(&crypto::hmac_sha256(&self.index, format!("{purpose}\n{value}").as_bytes()))
    }

    /// Signs a quote.
    pub fn sign_quote(&self, payload: &[u8]) -> Vec<u8> {
        crypto::hmac_sha256(&self.quote, payload)
    }
}

impl From<CryptoError> for Failure {
    fn from(error: CryptoError) -> Self {
        Failure::internal("using a key", error)
    }
}

/// A fresh bearer token of 256 bits, and the hash that is stored of it.
pub fn new_token() -> (String, String) {
    let token = BASE64URL_NOPAD.encode(&crypto::random::<32>());
    let hash = token_hash(&token);
    (token, hash)
}

/// What is stored of a bearer token.
pub fn token_hash(token: &str) -> String {
    crypto::hex(&crypto::sha256(token.as_bytes()))
}
