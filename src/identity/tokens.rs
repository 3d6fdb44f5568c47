//! The tokens of a session. A refresh token has two halves: the family, which stays for the life of the
//! session, and the turn, which changes at every refresh. A known family with another turn than the current
//! one is a token that was used before.

use data_encoding::BASE64URL_NOPAD;

use crate::platform::crypto;
use crate::platform::ctx::Ctx;
use crate::platform::secrets::{new_token, token_hash};

/// Longer texts are no token of ours.
pub const LENGTH_MAX: usize = 128;

/// An access token and its refresh token: 256 random bits each half. Never stored, never logged.
pub struct Tokens {
    pub token: String,
    pub refresh_token: String,
}

/// What is stored of [`Tokens`].
pub struct Hashes {
    pub token: String,
    pub family: String,
    pub refresh: String,
}

impl Tokens {
    /// The tokens of a new session.
    pub fn new() -> Self {
        let (token, _) = new_token();
        let (family, _) = new_token();
        let (turn, _) = new_token();
        Self { token, refresh_token: format!("{family}.{turn}") }
    }

    /// The tokens that follow `used`. They are a keyed function of it and of the request's key, so that the
    /// same request sent again gets the same answer although no token is stored. Without a key they are
    /// random.
    pub fn after(ctx: &Ctx, used: &str, request_key: Option<&str>) -> Option<Self> {
        let family = family_of(used)?;
        let request = match request_key {
            Some(key) => format!("key {key}"),
            None => format!("random {}", BASE64URL_NOPAD.encode(&crypto::random::<32>())),
        };
        let derive = |purpose| ctx.secrets.index(purpose, &format!("{used}\n{request}"));
        let turn = derive("session refresh token");
        Some(Self { token: derive("session token"), refresh_token: format!("{family}.{turn}") })
    }

    pub fn hashes(&self) -> Hashes {
        Hashes {
            token: token_hash(&self.token),
            family: token_hash(family_of(&self.refresh_token).unwrap_or_default()),
            refresh: token_hash(&self.refresh_token),
        }
    }
}

/// The half of a refresh token that stays.
pub fn family_of(refresh_token: &str) -> Option<&str> {
    if refresh_token.len() > LENGTH_MAX {
        return None;
    }
    refresh_token.split_once('.').map(|(family, _)| family)
}
