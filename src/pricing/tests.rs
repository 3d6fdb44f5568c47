use proptest::prelude::*;

use super::*;
use crate::kernel::Id;

fn sku(n: usize) -> SkuId {
    SkuId::from_tail(&format!("{n:026}"))
}

fn line(n: usize, unit_price_minor: i64, quantity: i64) -> LineIn {
    LineIn { sku_id: sku(n), unit_price_minor, quantity }
}

fn coupon(n: usize, benefit: Benefit) -> CouponTerms {
    CouponTerms {
        coupon_id: CouponId::from_tail(&format!("{n:026}")),
        template_id: CouponTemplateId::from_tail(&format!("{n:026}")),
        name: format!("coupon {n}"),
        benefit,
        threshold_minor: 0,
        eligible_skus: None,
        stack_group: format!("group {n}"),
        exclusive: false,
    }
}

fn off(n: usize, minor: i64) -> CouponTerms {
    coupon(n, Benefit::Amount { minor })
}

fn benefit() -> impl Strategy<Value = Benefit> {
    prop_oneof![
        (0_i64..200_000).prop_map(|minor| Benefit::Amount { minor }),
        (0_i64..=10_000, prop::option::of(0_i64..50_000))
            .prop_map(|(off_basis_points, cap_minor)| Benefit::Percent { off_basis_points, cap_minor }),
    ]
}

/// Up to three coupons that go together, each for the SKUs whose bit is set.
fn coupons() -> impl Strategy<Value = Vec<CouponTerms>> {
    prop::collection::vec((benefit(), 0_i64..100_000, prop::option::of(0_u32..1024)), 0..4).prop_map(|all| {
        let terms =
            |(n, (benefit, threshold_minor, skus)): (usize, (Benefit, i64, Option<u32>))| CouponTerms {
                threshold_minor,
                eligible_skus: skus.map(|bits| (0..10).filter(|n| bits & (1 << n) != 0).map(sku).collect()),
                ..coupon(n, benefit)
            };
        all.into_iter().enumerate().map(terms).collect()
    })
}

/// A basket of different SKUs, in any order.
fn basket() -> impl Strategy<Value = Vec<LineIn>> {
    prop::collection::btree_map(0_usize..10, (0_i64..50_000, 1_i64..20), 1..10)
        .prop_map(|lines| lines.into_iter().map(|(n, (price, count))| line(n, price, count)).collect())
        .prop_flat_map(|lines: Vec<LineIn>| Just(lines).prop_shuffle())
}

fn freight() -> impl Strategy<Value = FreightTerms> {
    (0_i64..3_000, prop::option::of(0_i64..100_000))
        .prop_map(|(freight_minor, free_from_minor)| FreightTerms { freight_minor, free_from_minor })
}

fn gross_of(lines: &[LineIn], coupon: &CouponTerms) -> i64 {
    let eligible = lines.iter().filter(|line| coupon.covers(&line.sku_id));
    eligible.map(|line| line.unit_price_minor * line.quantity).sum()
}

fn taken_by(priced: &Priced, coupon: &CouponTerms) -> Vec<(SkuId, i64)> {
    let shares = priced.lines.iter().flat_map(|line| line.shares.iter().map(|share| (&line.sku_id, share)));
    shares
        .filter(|(_, share)| share.coupon_id.as_ref() == Some(&coupon.coupon_id))
        .map(|(sku, share)| (sku.clone(), share.minor))
        .collect()
}

proptest! {
    #[test]
    fn every_fen_is_explained(lines in basket(), coupons in coupons(), freight in freight()) {
        let Ok(priced) = price(&lines, &coupons, freight) else { return Ok(()) };
        for (line, asked) in priced.lines.iter().zip(&lines) {
            let shares: i64 = line.shares.iter().map(|share| share.minor).sum();
            prop_assert!(line.shares.iter().all(|share| share.minor > 0));
            prop_assert_eq!(&line.sku_id, &asked.sku_id);
            prop_assert_eq!(line.gross_minor, asked.unit_price_minor * asked.quantity);
            prop_assert_eq!(line.net_minor, line.gross_minor - shares);
            prop_assert!(line.net_minor >= 0);
        }
        let shares: i64 = priced.lines.iter().flat_map(|line| &line.shares).map(|share| share.minor).sum();
        prop_assert_eq!(priced.discount_minor, shares);
        prop_assert_eq!(priced.goods_minor, priced.lines.iter().map(|line| line.net_minor).sum::<i64>());
        prop_assert_eq!(priced.total_minor, priced.goods_minor + priced.freight_minor);
        prop_assert!(priced.total_minor == 0 || priced.total_minor >= 1);
    }

    #[test]
    fn a_coupon_takes_only_from_its_goods_and_never_more_than_it_says(
        lines in basket(),
        coupons in coupons(),
    ) {
        let Ok(priced) = price(&lines, &coupons, FreightTerms::NONE) else { return Ok(()) };
        for coupon in &coupons {
            let taken = taken_by(&priced, coupon);
            let sum: i64 = taken.iter().map(|(_, minor)| minor).sum();
            let gross = gross_of(&lines, coupon);
            prop_assert!(taken.iter().all(|(sku, _)| coupon.covers(sku)));
            prop_assert!(sum >= 1 && sum <= gross, "{} of {}", sum, gross);
            prop_assert!(gross >= coupon.threshold_minor);
            match coupon.benefit {
                Benefit::Amount { minor } => prop_assert!(sum <= minor),
                Benefit::Percent { off_basis_points, cap_minor } => {
                    prop_assert!(sum <= gross * off_basis_points / 10_000);
                    prop_assert!(sum <= cap_minor.unwrap_or(i64::MAX));
                }
            }
        }
    }

    #[test]
    fn one_coupon_takes_exactly_its_discount(lines in basket(), benefit in benefit()) {
        let coupon = coupon(1, benefit);
        let gross = gross_of(&lines, &coupon);
        let expected = match benefit {
            Benefit::Amount { minor } => minor.min(gross),
            Benefit::Percent { off_basis_points, cap_minor } => {
                (gross * off_basis_points / 10_000).min(cap_minor.unwrap_or(i64::MAX))
            }
        };
        match price(&lines, std::slice::from_ref(&coupon), FreightTerms::NONE) {
            Ok(priced) => prop_assert_eq!(priced.discount_minor, expected),
            Err(unmet) => {
                prop_assert_eq!(expected, 0);
                prop_assert_eq!(unmet, Unmet::NoEffect { coupon_id: coupon.coupon_id });
            }
        }
    }

    #[test]
    fn a_threshold_is_measured_on_the_eligible_lines(lines in basket(), threshold_minor in 1_i64..200_000) {
        let eligible = BTreeSet::from([lines[0].sku_id.clone()]);
        let coupon = CouponTerms { threshold_minor, eligible_skus: Some(eligible), ..off(1, 1) };
        let gross = gross_of(&lines, &coupon);
        let outcome = price(&lines, std::slice::from_ref(&coupon), FreightTerms::NONE);
        if gross < threshold_minor {
            let missing_minor = threshold_minor - gross;
            prop_assert_eq!(outcome, Err(Unmet::Threshold { coupon_id: coupon.coupon_id, missing_minor }));
        } else {
            prop_assert!(outcome.is_ok());
        }
    }

    #[test]
    fn freight_is_free_from_the_goods_after_discounts(
        lines in basket(),
        coupons in coupons(),
        freight in freight(),
    ) {
        let Ok(priced) = price(&lines, &coupons, freight) else { return Ok(()) };
        let free = freight.free_from_minor.is_some_and(|from| priced.goods_minor >= from);
        prop_assert_eq!(priced.freight_minor, if free { 0 } else { freight.freight_minor });
    }

    #[test]
    fn the_order_of_lines_and_coupons_changes_nothing(
        (lines, shuffled) in basket().prop_flat_map(|lines| (Just(lines.clone()), Just(lines).prop_shuffle())),
        (coupons, other) in coupons().prop_flat_map(|all| (Just(all.clone()), Just(all).prop_shuffle())),
        freight in freight(),
    ) {
        let by_sku = |priced: Result<Priced, Unmet>| priced.map(|mut priced| {
            priced.lines.sort_by(|a, b| a.sku_id.cmp(&b.sku_id));
            priced
        });
        prop_assert_eq!(by_sku(price(&lines, &coupons, freight)), by_sku(price(&shuffled, &other, freight)));
    }
}

#[test]
fn a_discount_is_apportioned_by_largest_remainder_with_ties_to_the_smaller_sku() {
    let lines = [line(2, 500, 1), line(1, 500, 1), line(3, 500, 1)];
    let priced = price(&lines, &[off(1, 100)], FreightTerms::NONE).unwrap();
    let shares: Vec<i64> = priced.lines.iter().map(|line| line.shares[0].minor).collect();
    assert_eq!(shares, [33, 34, 33]);
}

#[test]
fn a_coupon_above_the_goods_makes_them_free_but_not_the_freight() {
    let freight = FreightTerms { freight_minor: 600, free_from_minor: Some(0) };
    let priced = price(&[line(1, 450, 2)], &[off(1, 1_000)], freight).unwrap();
    assert_eq!((priced.goods_minor, priced.discount_minor, priced.total_minor), (0, 900, 0));
    let paid = FreightTerms { freight_minor: 600, free_from_minor: Some(1) };
    assert_eq!(price(&[line(1, 450, 2)], &[off(1, 1_000)], paid).unwrap().total_minor, 600);
}

#[test]
fn percentages_come_before_amounts() {
    let tenth = coupon(2, Benefit::Percent { off_basis_points: 1_000, cap_minor: None });
    let priced = price(&[line(1, 10_000, 1)], &[off(1, 1_000), tenth], FreightTerms::NONE).unwrap();
    assert_eq!(priced.discount_minor, 2_000);
}

#[test]
fn coupons_of_one_group_and_exclusive_ones_do_not_combine() {
    let same_group = CouponTerms { stack_group: "group 1".to_owned(), ..off(2, 10) };
    let lines = [line(1, 10_000, 1)];
    let refused = price(&lines, &[off(1, 10), same_group.clone()], FreightTerms::NONE);
    assert_eq!(refused, Err(Unmet::CannotCombine { coupon_id: same_group.coupon_id }));
    let exclusive = CouponTerms { exclusive: true, ..off(2, 10) };
    assert!(price(&lines, std::slice::from_ref(&exclusive), FreightTerms::NONE).is_ok());
    let refused = price(&lines, &[off(1, 10), exclusive.clone()], FreightTerms::NONE);
    assert_eq!(refused, Err(Unmet::CannotCombine { coupon_id: exclusive.coupon_id }));
}

#[test]
fn amounts_that_no_integer_holds_are_refused() {
    let huge = [line(1, i64::MAX, 2)];
    assert_eq!(price(&huge, &[], FreightTerms::NONE), Err(Unmet::OutOfRange));
    let two = [line(1, i64::MAX, 1), line(2, 1, 1)];
    assert_eq!(price(&two, &[], FreightTerms::NONE), Err(Unmet::OutOfRange));
    assert_eq!(price(&[line(1, 1, 0)], &[], FreightTerms::NONE), Err(Unmet::OutOfRange));
    assert_eq!(price(&[line(1, -1, 1)], &[], FreightTerms::NONE), Err(Unmet::OutOfRange));
}
