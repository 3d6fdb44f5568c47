//! What a basket costs: pure, from lines, coupon terms and freight terms to amounts of which every fen is
//! explained.
//!
//! - A discount is floored, never above the net that is left of its eligible lines, and apportioned over
//!   them by largest remainder, ties by SKU id: the shares add up to the discount exactly.
//! - A threshold is measured on the eligible lines before any coupon; free freight on the goods after all
//!   of them.
//! - Several coupons: percentages first, then amounts, each kind by coupon id. That gives the customer the
//!   larger discount, and the order in which they were named changes nothing.

mod reprice;
#[cfg(test)]
mod tests;

pub use reprice::{Unfit, reprice};

use std::cmp::Reverse;
use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::kernel::{CouponId, CouponTemplateId, SkuId, split_by};

/// The rule name of a coupon's shares.
pub const COUPON_RULE: &str = "coupon";
/// The rule name of what staff took off.
pub const STAFF_RULE: &str = "staff";

/// One line of a basket. A basket names each SKU once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineIn {
    pub sku_id: SkuId,
    /// Minor units, 0 or more.
    pub unit_price_minor: i64,
    /// 1 or more.
    pub quantity: i64,
}

/// What a coupon takes off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Benefit {
    /// An amount, minor units.
    Amount { minor: i64 },
    /// A part of the eligible lines, in 1/10000, at most `cap_minor`.
    Percent { off_basis_points: i64, cap_minor: Option<i64> },
}

/// A coupon as far as prices are concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CouponTerms {
    pub coupon_id: CouponId,
    pub template_id: CouponTemplateId,
    pub name: String,
    pub benefit: Benefit,
    /// What the eligible lines must reach, minor units; 0: nothing.
    pub threshold_minor: i64,
    /// `None`: every SKU.
    pub eligible_skus: Option<BTreeSet<SkuId>>,
    /// Of one group only one coupon is taken.
    pub stack_group: String,
    /// Goes with no other coupon.
    pub exclusive: bool,
}

/// What delivery costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FreightTerms {
    pub freight_minor: i64,
    /// Free when the goods, after discounts, reach this.
    pub free_from_minor: Option<i64>,
}

impl FreightTerms {
    /// Nothing is delivered.
    pub const NONE: Self = Self { freight_minor: 0, free_from_minor: None };
}

/// How much one rule took off one line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    pub rule: String,
    pub coupon_id: Option<CouponId>,
    /// For people: the coupon's name, or who gave it.
    pub name: String,
    /// Minor units, 1 or more.
    pub minor: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PricedLine {
    pub sku_id: SkuId,
    pub unit_price_minor: i64,
    pub quantity: i64,
    pub gross_minor: i64,
    pub shares: Vec<Share>,
    /// Gross less all shares: 0 or more.
    pub net_minor: i64,
}

/// A priced basket; its lines are in the order of the basket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Priced {
    pub lines: Vec<PricedLine>,
    /// Σ net of the lines.
    pub goods_minor: i64,
    /// Σ of all shares.
    pub discount_minor: i64,
    pub freight_minor: i64,
    /// Goods and freight: 0, or at least 1.
    pub total_minor: i64,
}

/// Why a basket can't be priced as asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unmet {
    /// The eligible lines do not reach the coupon's threshold.
    Threshold { coupon_id: CouponId, missing_minor: i64 },
    /// No line is of the goods that the coupon is for.
    OtherGoods { coupon_id: CouponId },
    /// The coupon goes with none of the others, or two are of one group.
    CannotCombine { coupon_id: CouponId },
    /// The coupon would take nothing off, and would be lost for nothing.
    NoEffect { coupon_id: CouponId },
    /// A price below 0, a quantity below 1, or an amount that no integer holds.
    OutOfRange,
}

/// Prices a basket.
///
/// # Errors
/// The first rule that is not met, coupons in the order in which they apply.
pub fn price(lines: &[LineIn], coupons: &[CouponTerms], freight: FreightTerms) -> Result<Priced, Unmet> {
    let mut basket = Basket::new(lines)?;
    for coupon in in_order(coupons)? {
        basket.take_off(coupon)?;
    }
    let freight_minor = match freight.free_from_minor {
        Some(free_from_minor) if basket.goods_minor() >= free_from_minor => 0,
        _ => freight.freight_minor,
    };
    let goods_minor = basket.goods_minor();
    Ok(Priced {
        goods_minor,
        discount_minor: basket.gross_minor - goods_minor,
        freight_minor,
        total_minor: goods_minor.checked_add(freight_minor).ok_or(Unmet::OutOfRange)?,
        lines: basket.lines,
    })
}

/// The coupons in the order in which they apply, if they go together.
fn in_order(coupons: &[CouponTerms]) -> Result<Vec<&CouponTerms>, Unmet> {
    let mut ordered: Vec<&CouponTerms> = coupons.iter().collect();
    ordered.sort_by_key(|coupon| (matches!(coupon.benefit, Benefit::Amount { .. }), &coupon.coupon_id));
    let mut groups = BTreeSet::new();
    for coupon in &ordered {
        let alone = ordered.len() == 1;
        if !groups.insert(&coupon.stack_group) || (coupon.exclusive && !alone) {
            return Err(Unmet::CannotCombine { coupon_id: coupon.coupon_id.clone() });
        }
    }
    Ok(ordered)
}

/// The lines while rules change them.
struct Basket {
    lines: Vec<PricedLine>,
    gross_minor: i64,
    /// Positions of the lines by SKU id: ties of a split go to the smaller id, whatever the basket's order.
    by_sku: Vec<usize>,
}

impl Basket {
    fn new(lines: &[LineIn]) -> Result<Self, Unmet> {
        let mut gross_minor = 0_i64;
        let mut priced = Vec::with_capacity(lines.len());
        for line in lines {
            if line.unit_price_minor < 0 || line.quantity < 1 {
                return Err(Unmet::OutOfRange);
            }
            let gross = line.unit_price_minor.checked_mul(line.quantity).ok_or(Unmet::OutOfRange)?;
            gross_minor = gross_minor.checked_add(gross).ok_or(Unmet::OutOfRange)?;
            priced.push(PricedLine {
                sku_id: line.sku_id.clone(),
                unit_price_minor: line.unit_price_minor,
                quantity: line.quantity,
                gross_minor: gross,
                shares: Vec::new(),
                net_minor: gross,
            });
        }
        let mut by_sku: Vec<usize> = (0..priced.len()).collect();
        by_sku.sort_by_key(|at| (&priced[*at].sku_id, Reverse(priced[*at].gross_minor)));
        Ok(Self { lines: priced, gross_minor, by_sku })
    }

    fn goods_minor(&self) -> i64 {
        self.lines.iter().map(|line| line.net_minor).sum()
    }

    fn take_off(&mut self, coupon: &CouponTerms) -> Result<(), Unmet> {
        let coupon_id = || coupon.coupon_id.clone();
        let eligible: Vec<usize> =
            self.by_sku.iter().copied().filter(|at| coupon.covers(&self.lines[*at].sku_id)).collect();
        if eligible.is_empty() {
            return Err(Unmet::OtherGoods { coupon_id: coupon_id() });
        }
        let measured_minor: i64 = eligible.iter().map(|at| self.lines[*at].gross_minor).sum();
        if measured_minor < coupon.threshold_minor {
            let missing_minor = coupon.threshold_minor - measured_minor;
            return Err(Unmet::Threshold { coupon_id: coupon_id(), missing_minor });
        }
        let nets: Vec<i64> = eligible.iter().map(|at| self.lines[*at].net_minor).collect();
        let discount_minor = coupon.benefit.off(nets.iter().sum());
        if discount_minor == 0 {
            return Err(Unmet::NoEffect { coupon_id: coupon_id() });
        }
        for (at, minor) in eligible.into_iter().zip(split_by(discount_minor, &nets)) {
            if minor > 0 {
                let line = &mut self.lines[at];
                line.net_minor -= minor;
                line.shares.push(Share {
                    rule: COUPON_RULE.to_owned(),
                    coupon_id: Some(coupon_id()),
                    name: coupon.name.clone(),
                    minor,
                });
            }
        }
        Ok(())
    }
}

impl CouponTerms {
    /// Do these lines reach the threshold?
    pub fn is_reached_by(&self, lines: &[LineIn]) -> bool {
        let eligible = lines.iter().filter(|line| self.covers(&line.sku_id));
        eligible.map(|line| line.unit_price_minor * line.quantity).sum::<i64>() >= self.threshold_minor
    }

    fn covers(&self, sku: &SkuId) -> bool {
        self.eligible_skus.as_ref().is_none_or(|skus| skus.contains(sku))
    }
}

impl Benefit {
    /// What this takes off `net_minor`: from 0 to all of it.
    fn off(self, net_minor: i64) -> i64 {
        let off_minor = match self {
            Self::Amount { minor } => minor,
            Self::Percent { off_basis_points, cap_minor } => {
                let part = i128::from(net_minor) * i128::from(off_basis_points.clamp(0, 10_000)) / 10_000;
                // A part of an i64 is an i64.
                (part as i64).min(cap_minor.unwrap_or(i64::MAX))
            }
        };
        off_minor.clamp(0, net_minor)
    }
}
