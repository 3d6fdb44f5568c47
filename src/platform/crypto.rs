//! Cryptographic primitives, each a thin word over aws-lc-rs. What is signed, and in which order, is
//! known only to the protocol modules; the sandbox shares these primitives and nothing else with them.

use aws_lc_rs::cipher::{
    AES_128, AES_256, DecryptingKey, DecryptionContext, EncryptingKey, EncryptionContext,
    PaddedBlockDecryptingKey, PaddedBlockEncryptingKey, UnboundCipherKey,
};
use aws_lc_rs::{aead, digest, hmac, rand, rsa, signature};
use data_encoding::{BASE64, Encoding, HEXLOWER, HEXUPPER, Specification};
use std::sync::LazyLock;
use x509_parser::prelude::{FromDer, X509Certificate};

/// Why a primitive refused. It never carries key material or plaintext.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum CryptoError {
    #[error("not valid base64")]
    Base64,
    #[error("not a {0} in PEM form")]
    Pem(&'static str),
    #[error("not a usable {0}")]
    Key(&'static str),
    #[error("{0} must be {1} bytes")]
    Length(&'static str, usize),
    #[error("the ciphertext is damaged or was made with another key")]
    Decrypt,
    #[error("encryption refused its input")]
    Encrypt,
    #[error("the signature is not by this key over this message")]
    Signature,
}

/// Base64 whose last character may leave spare bits: some real EncodingAESKeys do (message push docs).
static BASE64_LENIENT: LazyLock<Encoding> = LazyLock::new(|| {
    let mut spec = Specification::new();
    spec.symbols.push_str("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/");
    spec.padding = Some('=');
    spec.check_trailing_bits = false;
    spec.encoding().expect("a constant specification") // never fails: checked by every test run
});

pub fn base64(bytes: &[u8]) -> String {
    BASE64.encode(bytes)
}

/// Standard base64 with padding; spare bits in the last character are allowed.
pub fn from_base64(text: &str) -> Result<Vec<u8>, CryptoError> {
    BASE64_LENIENT.decode(text.as_bytes()).map_err(|_| CryptoError::Base64)
}

/// Lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    HEXLOWER.encode(bytes)
}

/// Fills with bytes that can't be guessed.
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).expect("the system has randomness"); // never fails once the process runs
    bytes
}

pub fn sha1(bytes: &[u8]) -> Vec<u8> {
    digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, bytes).as_ref().to_vec()
}

pub fn sha256(bytes: &[u8]) -> Vec<u8> {
    digest::digest(&digest::SHA256, bytes).as_ref().to_vec()
}

pub fn hmac_sha256(key: &[u8], message: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message).as_ref().to_vec()
}

/// Compares in constant time.
pub fn same(a: &[u8], b: &[u8]) -> bool {
    aws_lc_rs::constant_time::verify_slices_are_equal(a, b).is_ok()
}

/// The DER bytes of the first PEM block with this label.
fn pem_der(pem: &str, label: &'static str) -> Result<Vec<u8>, CryptoError> {
    let (_, block) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).map_err(|_| CryptoError::Pem(label))?;
    if block.label == label { Ok(block.contents) } else { Err(CryptoError::Pem(label)) }
}

/// An RSA private key (PKCS#8 PEM, or the older `RSA PRIVATE KEY`) that signs with PKCS#1 v1.5 and SHA-256.
pub struct RsaSigner(rsa::KeyPair);

impl RsaSigner {
    pub fn from_pem(pem: &str) -> Result<Self, CryptoError> {
        let pair = match pem_der(pem, "RSA PRIVATE KEY") {
            Ok(der) => rsa::KeyPair::from_der(&der),
            Err(_) => rsa::KeyPair::from_pkcs8(&pem_der(pem, "PRIVATE KEY")?),
        };
        pair.map(Self).map_err(|_| CryptoError::Key("RSA private key"))
    }

    /// Base64 of the signature.
    pub fn sign(&self, message: &[u8]) -> String {
        let mut signature = vec![0; self.0.public_modulus_len()];
        self.0
            .sign(&signature::RSA_PKCS1_SHA256, &rand::SystemRandom::new(), message, &mut signature)
            .expect("a buffer of the modulus' length"); // never fails for a key that was accepted
        BASE64.encode(&signature)
    }

    /// Decrypts base64 of RSA-OAEP with SHA-1, which is what WeChat Pay's SDKs use.
    pub fn decrypt_oaep_sha1(pem: &str, ciphertext: &str) -> Result<Vec<u8>, CryptoError> {
        let der = pem_der(pem, "PRIVATE KEY")?;
        let key = rsa::PrivateDecryptingKey::from_pkcs8(&der)
            .ok()
            .and_then(|key| rsa::OaepPrivateDecryptingKey::new(key).ok())
            .ok_or(CryptoError::Key("RSA private key"))?;
        let mut plain = vec![0; key.min_output_size()];
        let opened = key
            .decrypt(&rsa::OAEP_SHA1_MGF1SHA1, &from_base64(ciphertext)?, &mut plain, None)
            .map_err(|_| CryptoError::Decrypt)?;
        Ok(opened.to_vec())
    }
}

/// An RSA public key that verifies PKCS#1 v1.5 with SHA-256.
#[derive(Clone)]
pub struct RsaVerifier(Vec<u8>);

impl RsaVerifier {
    /// From an SPKI PEM (`PUBLIC KEY`).
    pub fn from_pem(pem: &str) -> Result<Self, CryptoError> {
        Self::from_spki(pem_der(pem, "PUBLIC KEY")?)
    }

    fn from_spki(der: Vec<u8>) -> Result<Self, CryptoError> {
        rsa::PublicEncryptingKey::from_der(&der).map_err(|_| CryptoError::Key("RSA public key"))?;
        Ok(Self(der))
    }

    /// `signature` is base64 text.
    pub fn verify(&self, message: &[u8], signature: &str) -> Result<(), CryptoError> {
        let signature = from_base64(signature)?;
        signature::UnparsedPublicKey::new(&signature::RSA_PKCS1_2048_8192_SHA256, &self.0)
            .verify(message, &signature)
            .map_err(|_| CryptoError::Signature)
    }

    /// Base64 of RSA-OAEP with SHA-1.
    pub fn encrypt_oaep_sha1(&self, plain: &[u8]) -> Result<String, CryptoError> {
        let key = rsa::PublicEncryptingKey::from_der(&self.0)
            .ok()
            .and_then(|key| rsa::OaepPublicEncryptingKey::new(key).ok())
            .ok_or(CryptoError::Key("RSA public key"))?;
        let mut out = vec![0; key.ciphertext_size()];
        let sealed =
            key.encrypt(&rsa::OAEP_SHA1_MGF1SHA1, plain, &mut out, None).map_err(|_| CryptoError::Encrypt)?;
        Ok(BASE64.encode(sealed))
    }
}

/// What WeChat Pay needs of an X.509 certificate.
pub struct Certificate {
    /// Upper-case hex over whole bytes: a leading zero nibble stays, the DER sign byte goes.
    pub serial: String,
    pub not_before_ms: i64,
    pub not_after_ms: i64,
    pub key: RsaVerifier,
}

impl Certificate {
    pub fn from_pem(pem: &str) -> Result<Self, CryptoError> {
        let der = pem_der(pem, "CERTIFICATE")?;
        let certificate = parse_certificate(&der)?;
        let validity = certificate.validity();
        Ok(Self {
            serial: serial_hex(&certificate),
            not_before_ms: validity.not_before.timestamp() * 1_000,
            not_after_ms: validity.not_after.timestamp() * 1_000,
            key: RsaVerifier::from_spki(certificate.public_key().raw.to_vec())?,
        })
    }
}

/// The serial of a certificate with any kind of key, as [`Certificate::serial`] has it.
pub fn certificate_serial(pem: &str) -> Result<String, CryptoError> {
    Ok(serial_hex(&parse_certificate(&pem_der(pem, "CERTIFICATE")?)?))
}

fn parse_certificate(der: &[u8]) -> Result<X509Certificate<'_>, CryptoError> {
    X509Certificate::from_der(der)
        .map(|(_, certificate)| certificate)
        .map_err(|_| CryptoError::Key("certificate"))
}

fn serial_hex(certificate: &X509Certificate<'_>) -> String {
    match certificate.raw_serial() {
        [0, rest @ ..] if !rest.is_empty() => HEXUPPER.encode(rest),
        all => HEXUPPER.encode(all),
    }
}

fn gcm_key(key: &[u8]) -> Result<aead::LessSafeKey, CryptoError> {
    if key.len() != 32 {
        return Err(CryptoError::Length("the AES-256-GCM key", 32));
    }
    aead::UnboundKey::new(&aead::AES_256_GCM, key)
        .map(aead::LessSafeKey::new)
        .map_err(|_| CryptoError::Key("AES-256-GCM key"))
}

/// Opens AES-256-GCM: `sealed` is the ciphertext with its 16-byte tag, the nonce has 12 bytes.
pub fn aes_gcm_open(key: &[u8], nonce: &[u8], aad: &[u8], sealed: &[u8]) -> Result<Vec<u8>, CryptoError> {
    let nonce =
        aead::Nonce::try_assume_unique_for_key(nonce).map_err(|_| CryptoError::Length("the nonce", 12))?;
    let mut buffer = sealed.to_vec();
    let plain = gcm_key(key)?
        .open_in_place(nonce, aead::Aad::from(aad), &mut buffer)
        .map_err(|_| CryptoError::Decrypt)?;
    Ok(plain.to_vec())
}

/// Seals with AES-256-GCM; the tag is at the end.
pub fn aes_gcm_seal(key: &[u8], nonce: [u8; 12], aad: &[u8], plain: &[u8]) -> Result<Vec<u8>, CryptoError> {
    let mut buffer = plain.to_vec();
    gcm_key(key)?
        .seal_in_place_append_tag(
            aead::Nonce::assume_unique_for_key(nonce),
            aead::Aad::from(aad),
            &mut buffer,
        )
        .map_err(|_| CryptoError::Encrypt)?;
    Ok(buffer)
}

fn cbc_key(key: &[u8]) -> Result<UnboundCipherKey, CryptoError> {
    let algorithm = match key.len() {
        16 => &AES_128,
        32 => &AES_256,
        _ => return Err(CryptoError::Length("the AES key", 32)),
    };
    UnboundCipherKey::new(algorithm, key).map_err(|_| CryptoError::Key("AES key"))
}

fn iv(iv: &[u8]) -> Result<[u8; 16], CryptoError> {
    iv.try_into().map_err(|_| CryptoError::Length("the iv", 16))
}

/// AES-CBC with PKCS#7 to the block of 16 (`encryptedData` of the mini-program).
pub fn aes_cbc_open(key: &[u8], nonce: &[u8], sealed: &[u8]) -> Result<Vec<u8>, CryptoError> {
    let key = PaddedBlockDecryptingKey::cbc_pkcs7(cbc_key(key)?).map_err(|_| CryptoError::Key("AES key"))?;
    let mut buffer = sealed.to_vec();
    let plain = key
        .decrypt(&mut buffer, DecryptionContext::Iv128(iv(nonce)?.into()))
        .map_err(|_| CryptoError::Decrypt)?;
    Ok(plain.to_vec())
}

/// The counterpart of [`aes_cbc_open`].
pub fn aes_cbc_seal(key: &[u8], nonce: &[u8], plain: &[u8]) -> Result<Vec<u8>, CryptoError> {
    let key = PaddedBlockEncryptingKey::cbc_pkcs7(cbc_key(key)?).map_err(|_| CryptoError::Key("AES key"))?;
    let mut buffer = plain.to_vec();
    key.less_safe_encrypt(&mut buffer, EncryptionContext::Iv128(iv(nonce)?.into()))
        .map_err(|_| CryptoError::Encrypt)?;
    Ok(buffer)
}

/// AES-CBC without padding: the message push pads by itself, to 32.
pub fn aes_cbc_open_unpadded(key: &[u8], nonce: &[u8], sealed: &[u8]) -> Result<Vec<u8>, CryptoError> {
    let key = DecryptingKey::cbc(cbc_key(key)?).map_err(|_| CryptoError::Key("AES key"))?;
    let mut buffer = sealed.to_vec();
    let plain = key
        .decrypt(&mut buffer, DecryptionContext::Iv128(iv(nonce)?.into()))
        .map_err(|_| CryptoError::Decrypt)?;
    Ok(plain.to_vec())
}

/// The counterpart of [`aes_cbc_open_unpadded`]; `plain` is a multiple of 16 bytes.
pub fn aes_cbc_seal_unpadded(key: &[u8], nonce: &[u8], plain: &[u8]) -> Result<Vec<u8>, CryptoError> {
    let key = EncryptingKey::cbc(cbc_key(key)?).map_err(|_| CryptoError::Key("AES key"))?;
    let mut buffer = plain.to_vec();
    key.less_safe_encrypt(&mut buffer, EncryptionContext::Iv128(iv(nonce)?.into()))
        .map_err(|_| CryptoError::Encrypt)?;
    Ok(buffer)
}
