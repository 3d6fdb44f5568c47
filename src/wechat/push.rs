//! Message push: what WeChat posts to us about the mini-program (receipts confirmed, settlements, …).
//! Source: developers.weixin.qq.com, server-ability/message-push. The console must be set to JSON.

use serde::{Deserialize, Serialize};

use crate::kernel::{Failure, Result};
use crate::platform::crypto;

/// The frame is padded to this many bytes, although AES blocks have 16.
const PAD_BYTES: usize = 32;
const RANDOM_BYTES: usize = 16;

/// What the console of the mini-program holds.
pub struct PushOptions {
    pub appid: String,
    pub token: String,
    /// 43 characters: secure mode. Without it: plain mode.
    pub encoding_aes_key: Option<String>,
}

/// The query of a push. Parameters that are absent are empty.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct PushQuery {
    pub signature: String,
    pub msg_signature: String,
    pub timestamp: String,
    pub nonce: String,
}

/// Why a push is refused. Nothing in it is trusted then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PushError {
    #[error("the signature is not WeChat's")]
    Signature,
    #[error("the body is not the JSON envelope of secure mode")]
    Envelope,
    #[error("the message cannot be decrypted with this EncodingAESKey")]
    Decrypt,
    #[error("the message is for another app")]
    OtherApp,
    #[error("the server is in plain mode: no EncodingAESKey is set")]
    PlainMode,
}

/// An answer with content in secure mode.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct PushReply {
    pub encrypt: String,
    pub msg_signature: String,
    pub time_stamp: String,
    pub nonce: String,
}

/// What the encrypted frame holds.
#[derive(Clone, PartialEq, Eq)]
pub struct Frame {
    pub random: Vec<u8>,
    pub message: Vec<u8>,
    pub appid: Vec<u8>,
}

/// Verifies and opens pushes, seals replies.
#[derive(Clone)]
pub struct Push {
    appid: String,
    token: String,
    key: Option<Vec<u8>>,
}

/// SHA-1 over the sorted strings, in lower-case hex: three of them are `signature`, with Encrypt as the
/// fourth `msg_signature`.
pub fn push_signature(parts: &[&str]) -> String {
    let mut parts = parts.to_vec();
    parts.sort_unstable();
    crypto::hex(&crypto::sha1(parts.concat().as_bytes()))
}

impl Push {
    pub fn new(options: PushOptions) -> Result<Self> {
        let refuse =
            |field: &str, why: &str| Failure::invalid(format!("/{field}"), format!("{field}: {why}"));
        if options.token.is_empty() {
            return Err(refuse("token", "is empty, so anybody could sign"));
        }
        let key = match &options.encoding_aes_key {
            None => None,
            // 43 characters are 32 bytes and 2 spare bits, which may be set.
            Some(text) => match crypto::from_base64(&format!("{text}=")) {
                Ok(key) if key.len() == 32 => Some(key),
                _ => return Err(refuse("encoding_aes_key", "must be 43 characters of base64")),
            },
        };
        Ok(Self { appid: options.appid, token: options.token, key })
    }

    /// The check of the URL when it is entered in the console: answer `echostr` if this is Ok.
    pub fn verify_url(&self, query: &PushQuery) -> Result<(), PushError> {
        self.check(&[&self.token, &query.timestamp, &query.nonce], &query.signature)
    }

    /// The verified message of a push. Secure mode looks at `msg_signature` only and never takes a plain body.
    pub fn receive(&self, query: &PushQuery, body: &[u8]) -> Result<Vec<u8>, PushError> {
        if self.key.is_none() {
            self.verify_url(query)?;
            return Ok(body.to_vec());
        }
        #[derive(Deserialize)]
        struct Envelope {
            #[serde(rename = "Encrypt")]
            encrypt: String,
        }
        let envelope: Envelope = serde_json::from_slice(body).map_err(|_| PushError::Envelope)?;
        self.open(query, &envelope.encrypt).map(|frame| frame.message)
    }

    /// Verifies `msg_signature` over `encrypt` and opens it.
    pub fn open(&self, query: &PushQuery, encrypt: &str) -> Result<Frame, PushError> {
        self.check(&[&self.token, &query.timestamp, &query.nonce, encrypt], &query.msg_signature)?;
        let frame = unframe(self.key.as_deref().ok_or(PushError::PlainMode)?, encrypt)?;
        if frame.appid == self.appid.as_bytes() { Ok(frame) } else { Err(PushError::OtherApp) }
    }

    /// Seals a reply. `random` is new for every reply.
    pub fn seal(
        &self,
        message: &[u8],
        timestamp: &str,
        nonce: &str,
        random: [u8; RANDOM_BYTES],
    ) -> Result<PushReply, PushError> {
        let key = self.key.as_deref().ok_or(PushError::PlainMode)?;
        let length = u32::try_from(message.len()).map_err(|_| PushError::Envelope)?;
        let mut frame = random.to_vec();
        frame.extend_from_slice(&length.to_be_bytes());
        frame.extend_from_slice(message);
        frame.extend_from_slice(self.appid.as_bytes());
        let pad = PAD_BYTES - frame.len() % PAD_BYTES;
        frame.resize(frame.len() + pad, pad as u8);
        let sealed =
            crypto::aes_cbc_seal_unpadded(key, &key[..16], &frame).map_err(|_| PushError::Decrypt)?;
        let encrypt = crypto::base64(&sealed);
        let msg_signature = push_signature(&[&self.token, timestamp, nonce, &encrypt]);
        Ok(PushReply { encrypt, msg_signature, time_stamp: timestamp.to_owned(), nonce: nonce.to_owned() })
    }

    fn check(&self, parts: &[&str], signature: &str) -> Result<(), PushError> {
        let same = crypto::same(push_signature(parts).as_bytes(), signature.as_bytes());
        if same { Ok(()) } else { Err(PushError::Signature) }
    }
}

fn unframe(key: &[u8], encrypt: &str) -> Result<Frame, PushError> {
    let sealed = crypto::from_base64(encrypt).map_err(|_| PushError::Decrypt)?;
    let plain = crypto::aes_cbc_open_unpadded(key, &key[..16], &sealed).map_err(|_| PushError::Decrypt)?;
    let pad = usize::from(*plain.last().ok_or(PushError::Decrypt)?);
    if !(1..=PAD_BYTES).contains(&pad) || pad > plain.len() {
        return Err(PushError::Decrypt);
    }
    let (frame, padding) = plain.split_at(plain.len() - pad);
    if padding.iter().any(|byte| usize::from(*byte) != pad) {
        return Err(PushError::Decrypt);
    }
    let (random, rest) = frame.split_at_checked(RANDOM_BYTES).ok_or(PushError::Decrypt)?;
    let (length, rest) = rest.split_first_chunk::<4>().ok_or(PushError::Decrypt)?;
    let length = u32::from_be_bytes(*length) as usize;
    let (message, appid) = rest.split_at_checked(length).ok_or(PushError::Decrypt)?;
    Ok(Frame { random: random.to_vec(), message: message.to_vec(), appid: appid.to_vec() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn push() -> Push {
        let key = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB".to_owned(); // spare bits set
        Push::new(PushOptions { appid: "wx1".into(), token: "t".into(), encoding_aes_key: Some(key) })
            .unwrap()
    }

    proptest! {
        #[test]
        fn what_was_sealed_opens_and_a_changed_push_does_not(message in prop::collection::vec(any::<u8>(), 0..200), at in any::<prop::sample::Index>()) {
            let push = push();
            let reply = push.seal(&message, "1", "n", [7; 16]).unwrap();
            let query = PushQuery { msg_signature: reply.msg_signature.clone(), timestamp: "1".into(), nonce: "n".into(), ..PushQuery::default() };
            let body = serde_json::to_vec(&reply).unwrap();
            prop_assert_eq!(push.receive(&query, &body).unwrap(), message);
            let mut bent = reply.encrypt.into_bytes();
            let at = at.index(bent.len());
            bent[at] = if bent[at] == b'A' { b'B' } else { b'A' };
            let bent = String::from_utf8(bent).unwrap();
            prop_assert_eq!(push.open(&query, &bent).err(), Some(PushError::Signature));
            // Whoever knows the token but not the key gets no panic out of us either.
            let signed = PushQuery { msg_signature: push_signature(&["t", "1", "n", &bent]), ..query };
            let _ = push.open(&signed, &bent);
        }
    }

    #[test]
    fn secure_mode_refuses_a_plain_body_with_a_good_plain_signature() {
        let query = PushQuery {
            signature: push_signature(&["t", "1", "n"]),
            timestamp: "1".into(),
            nonce: "n".into(),
            ..PushQuery::default()
        };
        assert_eq!(push().receive(&query, b"{\"Event\":\"x\"}"), Err(PushError::Envelope));
        assert_eq!(push().receive(&query, b"{\"Encrypt\":\"AAAA\"}"), Err(PushError::Signature));
    }
}
