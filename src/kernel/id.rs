//! Typed ids: a prefix that says what it is, and 26 characters that sort by time and can't be guessed.

use std::fmt;

use super::{Millis, text_type};

/// Crockford's alphabet in lower case: no i, l, o, u.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
const LENGTH: usize = 26;

/// 48 bits of time, 16 bits that count within a millisecond, and 64 bits of randomness, as 26 lower-case
/// characters.
pub fn time_ordered(now_ms: Millis, count: u16, random: [u8; 8]) -> String {
    let time = (now_ms.max(0) as u128) << 80;
    let bits = time | (u128::from(count) << 64) | u128::from(u64::from_be_bytes(random));
    (0..LENGTH).rev().map(|place| ALPHABET[(bits >> (5 * place)) as usize & 31] as char).collect()
}

/// The least 26 characters of an id of this time: ids of a span of time are a range of ids.
pub fn earliest_of(ms: Millis) -> String {
    time_ordered(ms, 0, [0; 8])
}

/// What all typed ids have in common.
pub trait Id: Sized {
    const PREFIX: &'static str;
    /// Builds an id of this type from its 26 characters.
    fn from_tail(tail: &str) -> Self;
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal;)+) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Box<str>);

        impl $name {
            pub fn as_str(&self) -> &str {
                &self.0
            }
            /// The 26 characters behind the prefix.
            pub fn tail(&self) -> &str {
                &self.0[$prefix.len() + 1..]
            }
        }
        impl Id for $name {
            const PREFIX: &'static str = $prefix;
            fn from_tail(tail: &str) -> Self {
                Self(format!("{}_{tail}", $prefix).into())
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl std::str::FromStr for $name {
            type Err = String;
            fn from_str(text: &str) -> Result<Self, String> {
                let tail = text.strip_prefix(concat!($prefix, "_"));
                match tail {
                    Some(tail) if tail.len() == LENGTH && tail.bytes().all(|b| ALPHABET.contains(&b)) => {
                        Ok(Self(text.into()))
                    }
                    _ => Err(format!("expected an id like {}_…, 26 characters behind the underscore", $prefix)),
                }
            }
        }
        text_type!($name, stringify!($name), {
            let mut schema = poem_openapi::registry::MetaSchema::new("string");
            schema.pattern = Some(concat!("^", $prefix, "_[0-9a-hjkmnp-tv-z]{26}$").to_owned());
            schema
        });
    )+};
}

ids! {
    /// A customer.
    UserId = "usr";
    /// A signed-in device of a customer.
    SessionId = "ses";
    /// Somebody who manages stores.
    StaffId = "stf";
    /// A signed-in device of a staff member.
    StaffSessionId = "sts";
    /// An invitation to become a staff member.
    StaffInvitationId = "inv";
    AddressId = "adr";
    StoreId = "sto";
    ProductId = "prd";
    SkuId = "sku";
    /// A supply move of stock.
    SupplyMoveId = "mov";
    CouponTemplateId = "tpl";
    CouponId = "cpn";
    OrderId = "ord";
    OrderLineId = "lin";
    /// A payment attempt.
    AttemptId = "pay";
    RefundId = "rfd";
    /// One submission of refunds to the channel: one out_refund_no.
    SubmissionId = "sub";
    /// A photo of a refund.
    RefundPhotoId = "rph";
    /// Money that the channel refunded, and that fits no refund here.
    DiscrepancyId = "dis";
    /// What one person proposes and another confirms.
    ProposalId = "prp";
    ParcelId = "par";
    /// A file of parcels.
    ShippingBatchId = "bat";
    /// A notice in the app.
    NoticeId = "ntc";
    EventId = "evt";
    /// A failed try of a delivery.
    DeliveryTryId = "dlt";
    InboxId = "inb";
    AuditId = "aud";
    /// Something that needs a person's eyes.
    AlertId = "alt";
    RequestId = "req";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_sort_by_time_and_parse_back() {
        let early = OrderId::from_tail(&time_ordered(1_000, 0, [255; 8]));
        let second = OrderId::from_tail(&time_ordered(1_000, 1, [0; 8]));
        let late = OrderId::from_tail(&time_ordered(1_001, 0, [0; 8]));
        assert!(early < second && second < late);
        assert!(early.tail() > &*earliest_of(1_000) && second.tail() < &*earliest_of(1_001));
        assert_eq!(early.as_str().parse::<OrderId>().unwrap(), early);
        assert!(early.as_str().parse::<UserId>().is_err());
        assert!("ord_short".parse::<OrderId>().is_err());
    }
}
