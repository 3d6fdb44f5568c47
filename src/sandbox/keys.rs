//! The sandbox's own keys: what it signs answers and notifications with, and what it checks requests with.

use crate::kernel::{Failure, Millis, Result};
use crate::platform::crypto::{self, Certificate, CryptoError, RsaSigner, RsaVerifier};

use super::demo;

const WECHATPAY_PRIVATE_KEY_PEM: &str = include_str!("keys/wechatpay_private_key.pem");
const OLDER_PLATFORM_KEY_PEM: &str = include_str!("keys/platform_older_private_key.pem");
const NEWER_PLATFORM_KEY_PEM: &str = include_str!("keys/platform_newer_private_key.pem");

/// Which of WeChat Pay's keys signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signing {
    PublicKey,
    Older,
    Newer,
}

/// A platform certificate with the key that belongs to it.
pub struct Platform {
    pub pem: &'static str,
    pub serial: String,
    pub effective_ms: Millis,
    pub expire_ms: Millis,
    signer: RsaSigner,
}

impl Platform {
    fn load(certificate_pem: &'static str, key_pem: &str) -> std::result::Result<Self, CryptoError> {
        let certificate = Certificate::from_pem(certificate_pem)?;
        Ok(Self {
            pem: certificate_pem,
            serial: certificate.serial,
            effective_ms: certificate.not_before_ms,
            expire_ms: certificate.not_after_ms,
            signer: RsaSigner::from_pem(key_pem)?,
        })
    }
}

pub struct Keys {
    pub older: Platform,
    pub newer: Platform,
    wechatpay: RsaSigner,
    merchant: RsaVerifier,
}

impl Keys {
    pub fn load() -> Result<Self> {
        Self::parse().map_err(|error| Failure::internal("reading the sandbox's keys", error))
    }

    fn parse() -> std::result::Result<Self, CryptoError> {
        Ok(Self {
            older: Platform::load(demo::OLDER_PLATFORM_CERTIFICATE_PEM, OLDER_PLATFORM_KEY_PEM)?,
            newer: Platform::load(demo::NEWER_PLATFORM_CERTIFICATE_PEM, NEWER_PLATFORM_KEY_PEM)?,
            wechatpay: RsaSigner::from_pem(WECHATPAY_PRIVATE_KEY_PEM)?,
            merchant: RsaVerifier::from_pem(demo::MERCHANT_PUBLIC_KEY_PEM)?,
        })
    }

    /// The `Wechatpay-Serial` of a key.
    pub fn serial(&self, signing: Signing) -> &str {
        match signing {
            Signing::PublicKey => demo::PUBLIC_KEY_ID,
            Signing::Older => &self.older.serial,
            Signing::Newer => &self.newer.serial,
        }
    }

    pub fn sign(&self, signing: Signing, message: &[u8]) -> String {
        match signing {
            Signing::PublicKey => self.wechatpay.sign(message),
            Signing::Older => self.older.signer.sign(message),
            Signing::Newer => self.newer.signer.sign(message),
        }
    }

    /// Is this signature (base64) the merchant's?
    pub fn is_merchants(&self, message: &[u8], signature: &str) -> bool {
        self.merchant.verify(message, signature).is_ok()
    }

    /// Opens what a merchant encrypted for us: with the public key, or with a platform certificate.
    pub fn open(&self, serial: &str, ciphertext: &str) -> Option<Vec<u8>> {
        let pem = if serial == demo::PUBLIC_KEY_ID {
            WECHATPAY_PRIVATE_KEY_PEM
        } else if serial == self.older.serial {
            OLDER_PLATFORM_KEY_PEM
        } else if serial == self.newer.serial {
            NEWER_PLATFORM_KEY_PEM
        } else {
            return None;
        };
        RsaSigner::decrypt_oaep_sha1(pem, ciphertext).ok()
    }

    /// Encrypts for the merchant's certificate.
    pub fn seal_for_merchant(&self, plain: &[u8]) -> Option<String> {
        self.merchant.encrypt_oaep_sha1(plain).ok()
    }
}

/// AEAD_AES_256_GCM under the APIv3 key: the nonce as text, and base64 of the ciphertext with its tag.
pub fn seal_resource(associated_data: &str, plain: &[u8]) -> (String, String) {
    let nonce = letters::<12>();
    let bytes: [u8; 12] = nonce.as_bytes().try_into().unwrap_or_default();
    let sealed = crypto::aes_gcm_seal(demo::APIV3_KEY.as_bytes(), bytes, associated_data.as_bytes(), plain)
        .expect("a constant key of 32 bytes"); // never fails: key and nonce have their lengths
    (nonce, crypto::base64(&sealed))
}

/// `N` random letters and digits.
pub fn letters<const N: usize>() -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789Zz";
    crypto::random::<N>().iter().map(|byte| ALPHABET[usize::from(byte % 64)] as char).collect()
}

/// `N` random decimal digits.
pub fn digits<const N: usize>() -> String {
    crypto::random::<N>().iter().map(|byte| char::from(b'0' + byte % 10)).collect()
}
