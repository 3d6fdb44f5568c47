//! Money: integer minor units and an ISO 4217 currency. No floating point anywhere.

use poem_openapi::Object;
use serde::{Deserialize, Serialize};

use super::text_enum;

text_enum! {
    /// ISO 4217 code. Prices are kept in the store's currency.
    pub enum Currency {
        Cny = "CNY",
        Usd = "USD",
        Eur = "EUR",
        Jpy = "JPY",
    }
}

/// An amount in minor units (fen for CNY) and its currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Object, Serialize, Deserialize)]
pub struct Money {
    /// Minor units: 1990 is CNY 19.90.
    pub amount: i64,
    /// ISO 4217 code.
    pub currency: Currency,
}

impl Money {
    pub const fn new(amount: i64, currency: Currency) -> Self {
        Self { amount, currency }
    }

    pub const fn cny(amount: i64) -> Self {
        Self::new(amount, Currency::Cny)
    }
}

/// Splits `total` over `weights` so that the parts add up to `total` exactly (largest remainder).
/// Ties go to the earlier weight, so callers sort by SKU id first. All weights zero: all parts zero
/// but the first, which takes everything. No part is above its weight while `total` ≤ Σ weights.
pub fn split_by(total: i64, weights: &[i64]) -> Vec<i64> {
    debug_assert!(total >= 0 && weights.iter().all(|w| *w >= 0));
    let sum: i128 = weights.iter().map(|w| i128::from(*w)).sum();
    if weights.is_empty() {
        return Vec::new();
    }
    if sum == 0 {
        let mut parts = vec![0; weights.len()];
        parts[0] = total;
        return parts;
    }
    let exact = |weight: i64| i128::from(total) * i128::from(weight);
    let mut parts: Vec<i64> = weights.iter().map(|w| (exact(*w) / sum) as i64).collect();
    let left = total - parts.iter().sum::<i64>();
    let mut order: Vec<usize> = (0..weights.len()).collect();
    order.sort_by_key(|i| (std::cmp::Reverse(exact(weights[*i]) % sum), *i));
    for index in order.into_iter().take(left as usize) {
        parts[index] += 1;
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn parts_add_up_to_the_whole_and_stay_within_their_weight(
            weights in prop::collection::vec(0_i64..1_000_000, 1..20),
            share in 0_u32..=1_000_000,
        ) {
            let sum: i64 = weights.iter().sum();
            let total = (i128::from(sum) * i128::from(share) / 1_000_000) as i64;
            let parts = split_by(total, &weights);
            prop_assert_eq!(parts.iter().sum::<i64>(), total);
            for (part, weight) in parts.iter().zip(&weights) {
                prop_assert!((0..=*weight).contains(part), "{} of {}", part, weight);
            }
        }
    }

    #[test]
    fn ties_go_to_the_earlier_line() {
        assert_eq!(split_by(1, &[5, 5]), [1, 0]);
        assert_eq!(split_by(10, &[1, 1, 1]), [4, 3, 3]);
    }
}
