//! New prices of an order that staff changes before it is paid: pure, and every fen is explained as before.
//!
//! What coupons took off a line stays as it was, whatever their thresholds say of the new prices: the customer
//! was promised it. An earlier discount by staff is gone, and the new one is apportioned like any other.

use super::{PricedLine, STAFF_RULE, Share};
use crate::kernel::split_by;

/// Why new prices can't be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unfit {
    /// The line would cost less than coupons took off it already; it must cost at least this.
    BelowShares { index: usize, least_minor: i64 },
    /// More than the lines cost.
    DiscountTooLarge { most_minor: i64 },
    /// A price below 0, or an amount that no integer holds.
    OutOfRange,
}

/// Gives the lines new unit prices, in their order, and takes `discount_minor` off all of them under `name`.
///
/// # Errors
/// See [`Unfit`].
pub fn reprice(
    lines: &[PricedLine],
    unit_prices_minor: &[i64],
    discount_minor: i64,
    name: &str,
) -> Result<Vec<PricedLine>, Unfit> {
    let mut priced = Vec::with_capacity(lines.len());
    for (index, (line, unit_price_minor)) in lines.iter().zip(unit_prices_minor).enumerate() {
        priced.push(with_price(index, line, *unit_price_minor)?);
    }
    let goods = priced.iter().try_fold(0_i64, |sum, line| sum.checked_add(line.net_minor));
    let goods_minor = goods.ok_or(Unfit::OutOfRange)?;
    if !(0..=goods_minor).contains(&discount_minor) {
        return Err(Unfit::DiscountTooLarge { most_minor: goods_minor });
    }
    // Ties go to the smaller SKU id, as everywhere.
    let mut by_sku: Vec<usize> = (0..priced.len()).collect();
    by_sku.sort_by(|a, b| priced[*a].sku_id.cmp(&priced[*b].sku_id));
    let nets: Vec<i64> = by_sku.iter().map(|at| priced[*at].net_minor).collect();
    for (at, minor) in by_sku.into_iter().zip(split_by(discount_minor, &nets)) {
        if minor > 0 {
            let line = &mut priced[at];
            line.net_minor -= minor;
            line.shares.push(Share {
                rule: STAFF_RULE.to_owned(),
                coupon_id: None,
                name: name.to_owned(),
                minor,
            });
        }
    }
    Ok(priced)
}

/// The line at another price, without an earlier discount by staff.
fn with_price(index: usize, line: &PricedLine, unit_price_minor: i64) -> Result<PricedLine, Unfit> {
    if unit_price_minor < 0 {
        return Err(Unfit::OutOfRange);
    }
    let gross_minor = unit_price_minor.checked_mul(line.quantity).ok_or(Unfit::OutOfRange)?;
    let kept = line.shares.iter().filter(|share| share.rule != STAFF_RULE);
    let shares: Vec<Share> = kept.cloned().collect();
    let taken_minor: i64 = shares.iter().map(|share| share.minor).sum();
    if gross_minor < taken_minor {
        let least_minor = taken_minor.div_euclid(line.quantity) + i64::from(taken_minor % line.quantity > 0);
        return Err(Unfit::BelowShares { index, least_minor });
    }
    Ok(PricedLine {
        unit_price_minor,
        gross_minor,
        net_minor: gross_minor - taken_minor,
        shares,
        ..line.clone()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::{CouponId, CouponTemplateId, Id, SkuId};
    use crate::pricing::{Benefit, CouponTerms, FreightTerms, LineIn, price};
    use proptest::prelude::*;

    fn basket(lines: &[(i64, i64)], coupon_minor: i64) -> Vec<PricedLine> {
        let line = |(n, (unit_price_minor, quantity)): (usize, &(i64, i64))| LineIn {
            sku_id: SkuId::from_tail(&format!("{n:0>26}")),
            unit_price_minor: *unit_price_minor,
            quantity: *quantity,
        };
        let lines: Vec<LineIn> = lines.iter().enumerate().map(line).collect();
        let coupon = CouponTerms {
            coupon_id: CouponId::from_tail(&"1".repeat(26)),
            template_id: CouponTemplateId::from_tail(&"1".repeat(26)),
            name: "券".to_owned(),
            benefit: Benefit::Amount { minor: coupon_minor },
            threshold_minor: 0,
            eligible_skus: None,
            stack_group: "a".to_owned(),
            exclusive: false,
        };
        let coupons = if coupon_minor > 0 { vec![coupon] } else { vec![] };
        price(&lines, &coupons, FreightTerms::NONE).unwrap().lines
    }

    fn of_rule(lines: &[PricedLine], staff: bool) -> i64 {
        let shares = lines.iter().flat_map(|line| &line.shares);
        shares.filter(|share| (share.rule == STAFF_RULE) == staff).map(|share| share.minor).sum()
    }

    #[test]
    fn a_price_below_what_a_coupon_took_off_is_refused_with_the_least_one() {
        let lines = basket(&[(1_000, 3)], 500);
        let least = Unfit::BelowShares { index: 0, least_minor: 167 };
        assert_eq!(reprice(&lines, &[166], 0, "改价"), Err(least));
        assert_eq!(reprice(&lines, &[167], 0, "改价").unwrap()[0].net_minor, 1);
        assert_eq!(reprice(&lines, &[-1], 0, "改价"), Err(Unfit::OutOfRange));
        assert_eq!(reprice(&lines, &[i64::MAX], 0, "改价"), Err(Unfit::OutOfRange));
        let most = Unfit::DiscountTooLarge { most_minor: 2_500 };
        assert_eq!(reprice(&lines, &[1_000], 2_501, "改价"), Err(most.clone()));
        assert_eq!(reprice(&lines, &[1_000], -1, "改价"), Err(most));
    }

    proptest! {
        /// Invariant 3 of prices, over any sequence of new prices.
        #[test]
        fn any_sequence_of_new_prices_explains_every_fen(
            lines in prop::collection::vec((1_i64..100_000, 1_i64..20), 1..6),
            coupon_minor in 0_i64..50_000,
            steps in prop::collection::vec(
                (prop::collection::vec(0_i64..200_000, 6), 0_i64..300_000),
                1..5,
            ),
        ) {
            let mut now = basket(&lines, coupon_minor);
            let coupon_minor = of_rule(&now, false);
            for (prices, discount_minor) in steps {
                let Ok(priced) = reprice(&now, &prices[..now.len()], discount_minor, "改价") else { continue };
                for (line, (before, price)) in priced.iter().zip(now.iter().zip(&prices)) {
                    prop_assert_eq!(line.unit_price_minor, *price);
                    prop_assert_eq!(line.gross_minor, price * before.quantity);
                    let taken: i64 = line.shares.iter().map(|share| share.minor).sum();
                    prop_assert!(line.shares.iter().all(|share| share.minor > 0));
                    prop_assert_eq!(line.net_minor, line.gross_minor - taken);
                    prop_assert!(line.net_minor >= 0);
                    prop_assert_eq!(&line.sku_id, &before.sku_id);
                }
                prop_assert_eq!(of_rule(&priced, true), discount_minor);
                prop_assert_eq!(of_rule(&priced, false), coupon_minor);
                now = priced;
            }
        }
    }
}
