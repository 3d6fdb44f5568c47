//! The code by which an order is handed over in its store: made when the order is paid, open until it has ended.

use super::{Order, sql};
use crate::kernel::{Failure, Result};
use crate::platform::crypto;
use crate::platform::db::Tx;

const DIGITS: usize = 8;
/// Codes that are tried before giving up: two open ones of a store that are the same are rare already.
const TRIES: u32 = 10;

/// Gives a held order its code.
///
/// # Errors
/// The database.
pub(super) async fn give(tx: &mut Tx<'_>, order: &mut Order) -> Result<()> {
    for _ in 0..TRIES {
        let code = fresh();
        if sql::set_code(tx, &order.id, &code).await? {
            order.pickup_code_open = Some(code.clone());
            order.pickup_code = Some(code);
            return Ok(());
        }
    }
    Err(Failure::internal("making a pickup code", "every code that was tried is taken"))
}

fn fresh() -> String {
    // 64 random bits: that some codes are likelier by one part in 10^11 helps nobody.
    let number = u64::from_be_bytes(crypto::random()) % 10_u64.pow(DIGITS as u32);
    format!("{number:0DIGITS$}")
}

/// A code as a person types it or a scanner reads it, without spaces and hyphens.
///
/// # Errors
/// `invalid_request`: not 8 digits.
pub(super) fn parse(text: &str) -> Result<String> {
    let digits: String = text.chars().filter(|c| !c.is_whitespace() && *c != '-').collect();
    if digits.len() == DIGITS && digits.bytes().all(|b| b.is_ascii_digit()) {
        return Ok(digits);
    }
    Err(Failure::invalid("/code", format!("a pickup code has {DIGITS} digits")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_has_eight_digits_and_may_be_typed_in_groups() {
        for _ in 0..1_000 {
            let code = fresh();
            assert_eq!(parse(&code).unwrap(), code);
            assert_eq!(parse(&format!(" {} {}-{} ", &code[..3], &code[3..6], &code[6..])).unwrap(), code);
        }
        for wrong in ["", "1234567", "123456789", "1234567a", "１２３４５６７８"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
