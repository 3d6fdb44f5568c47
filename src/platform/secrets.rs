//! Keys at rest: one master key from the configuration, one derived key for each purpose. Older master keys
//! still open what they sealed.

use data_encoding::{BASE64URL_NOPAD, HEXLOWER_PERMISSIVE};

use super::crypto::{self, CryptoError};
use crate::config;
use crate::kernel::{Failure, Result};

/// Keys derived from `secrets.master_key`, which seals, and from `secrets.old_master_keys`.
pub struct Secrets {
    current: Keys,
    old: Vec<Keys>,
}

/// What is derived from one master key.
struct Keys {
    data: [u8; 32],
    index: [u8; 32],
    quote: [u8; 32],
}

impl Keys {
    fn new(place: &str, master_key: &str) -> Result<Self> {
        let master =
            HEXLOWER_PERMISSIVE.decode(master_key.trim().as_bytes()).ok().filter(|key| key.len() == 32);
        let Some(master) = master else {
            return Err(Failure::internal(format!("reading {place}"), "it must be 64 hex digits"));
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

    fn index(&self, purpose: &str, value: &str) -> String {
        crypto::hex(&crypto::hmac_sha256(&self.index, format!("{purpose}\n{value}").as_bytes()))
    }
}

impl Secrets {
    /// # Errors
    /// A master key is not 64 hex digits.
    pub fn new(config: &config::Secrets) -> Result<Self> {
        let old = config.old_master_keys.iter().map(|key| Keys::new("secrets.old_master_keys", key));
        Ok(Self {
            current: Keys::new("secrets.master_key", &config.master_key)?,
            old: old.collect::<Result<_>>()?,
        })
    }

    fn all(&self) -> impl Iterator<Item = &Keys> {
        std::iter::once(&self.current).chain(&self.old)
    }

    /// Encrypts a column: AES-256-GCM under a random nonce; `purpose` binds it to its column.
    pub fn seal(&self, purpose: &str, plain: &str) -> Result<String, CryptoError> {
        let nonce = crypto::random::<12>();
        let sealed = crypto::aes_gcm_seal(&self.current.data, nonce, purpose.as_bytes(), plain.as_bytes())?;
        Ok(BASE64URL_NOPAD.encode(&[&nonce[..], &sealed].concat()))
    }

    /// # Errors
    /// Not sealed by one of these keys for this purpose.
    pub fn open(&self, purpose: &str, sealed: &str) -> Result<String, CryptoError> {
        let bytes = BASE64URL_NOPAD.decode(sealed.as_bytes()).map_err(|_| CryptoError::Base64)?;
        let (nonce, sealed) = bytes.split_at_checked(12).ok_or(CryptoError::Decrypt)?;
        let open = |keys: &Keys| crypto::aes_gcm_open(&keys.data, nonce, purpose.as_bytes(), sealed).ok();
        let plain = self.all().find_map(open).ok_or(CryptoError::Decrypt)?;
        String::from_utf8(plain).map_err(|_| CryptoError::Decrypt)
    }

    /// A keyed hash, to look up what is encrypted (phone numbers, openids in gates).
    pub fn index(&self, purpose: &str, value: &str) -> String {
        self.current.index(purpose, value)
    }

    /// The hashes under which it may stand: of the key that is current, and of older ones.
    pub fn indexes(&self, purpose: &str, value: &str) -> Vec<String> {
        self.all().map(|keys| keys.index(purpose, value)).collect()
    }

    /// Signs a quote.
    pub fn sign_quote(&self, payload: &[u8]) -> Vec<u8> {
        crypto::hmac_sha256(&self.current.quote, payload)
    }

    /// Did one of these keys sign the quote?
    pub fn is_quote(&self, payload: &[u8], mac: &[u8]) -> bool {
        self.all().any(|keys| crypto::same(mac, &crypto::hmac_sha256(&keys.quote, payload)))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets(master_key: &str, old: &[&str]) -> Secrets {
        let old_master_keys = old.iter().map(|key| (*key).to_owned()).collect();
        Secrets::new(&config::Secrets { master_key: master_key.to_owned(), old_master_keys }).unwrap()
    }

    #[test]
    fn a_key_is_changed_in_two_steps_and_every_node_reads_what_any_other_wrote() {
        let (one, two) = ("1".repeat(64), "2".repeat(64));
        let before = secrets(&one, &[]);
        // First all nodes learn the new key, then one after another uses it.
        let (ready, changed) = (secrets(&one, &[&two]), secrets(&two, &[&one]));
        for (writer, readers) in
            [(&before, [&ready, &changed]), (&ready, [&ready, &changed]), (&changed, [&ready, &changed])]
        {
            let sealed = writer.seal("phone", "13800138000").unwrap();
            let mac = writer.sign_quote(b"quote");
            let index = writer.index("phone", "13800138000");
            for reader in readers {
                assert_eq!(reader.open("phone", &sealed).unwrap(), "13800138000");
                assert!(reader.open("address", &sealed).is_err());
                assert!(reader.is_quote(b"quote", &mac) && !reader.is_quote(b"other", &mac));
                assert!(reader.indexes("phone", "13800138000").contains(&index));
            }
        }
        assert!(before.open("phone", &changed.seal("phone", "x").unwrap()).is_err());
        assert!(!before.is_quote(b"quote", &changed.sign_quote(b"quote")));
        let bad = config::Secrets { master_key: one, old_master_keys: vec!["short".to_owned()] };
        assert!(Secrets::new(&bad).is_err());
    }
}
