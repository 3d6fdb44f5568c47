//! Quote tokens: what was asked and what was answered, signed, so that nothing of it has to be stored
//! and no amount from a client is ever trusted.

use data_encoding::BASE64URL_NOPAD;
use serde::{Deserialize, Serialize};

use super::{Fulfilment, QUOTE_TOKEN_INVALID, WantedLine};
use crate::kernel::{AddressId, CouponId, Failure, Millis, Result, StoreId, UserId};
use crate::platform::secrets::Secrets;
use crate::pricing::Priced;

/// What a token says.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct QuotePayload {
    pub user_id: UserId,
    pub store_id: StoreId,
    pub fulfilment: Fulfilment,
    pub address_id: Option<AddressId>,
    /// Hash of the address as it was: a changed address is a changed quote.
    pub address_hash: Option<String>,
    pub lines: Vec<WantedLine>,
    pub coupon_ids: Vec<CouponId>,
    pub priced: Priced,
    pub expires_ms: Millis,
    /// Makes the token single use.
    pub nonce: String,
}

/// Signs a quote.
///
/// # Errors
/// None in practice: the payload is plain data.
pub fn seal(secrets: &Secrets, payload: &QuotePayload) -> Result<String> {
    let json = serde_json::to_vec(payload).map_err(|e| Failure::internal("writing a quote", e))?;
    let mac = secrets.sign_quote(&json);
    Ok(format!("{}.{}", BASE64URL_NOPAD.encode(&json), BASE64URL_NOPAD.encode(&mac)))
}

/// Reads a token that we signed for this user. Whether it has expired is the caller's to judge.
///
/// # Errors
/// `quote_token_invalid`.
pub fn open(secrets: &Secrets, user: &UserId, token: &str) -> Result<QuotePayload> {
    let invalid = || Failure::new(&QUOTE_TOKEN_INVALID).field("/quote_token");
    let (json, mac) = token.split_once('.').ok_or_else(invalid)?;
    let json = BASE64URL_NOPAD.decode(json.as_bytes()).map_err(|_| invalid())?;
    let mac = BASE64URL_NOPAD.decode(mac.as_bytes()).map_err(|_| invalid())?;
    if !secrets.is_quote(&json, &mac) {
        return Err(invalid());
    }
    let payload: QuotePayload = serde_json::from_slice(&json).map_err(|_| invalid())?;
    if payload.user_id == *user { Ok(payload) } else { Err(invalid()) }
}
