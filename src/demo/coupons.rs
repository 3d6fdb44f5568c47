//! Three coupon templates: for new users, to claim, and as compensation.

use super::{ACTOR, id};
use crate::coupons::{self, Issue, NewTemplate, Validity};
use crate::kernel::{Currency, Result};
use crate::platform::ctx::Ctx;
use crate::pricing::Benefit;

/// False: the templates were there.
pub async fn seed(ctx: &Ctx) -> Result<bool> {
    let grant =
        |name: &str, description: &str, off_minor: i64, threshold_minor: i64, days: i64| NewTemplate {
            name: name.to_owned(),
            description: description.to_owned(),
            benefit: Benefit::Amount { minor: off_minor },
            threshold_minor,
            currency: Currency::Cny,
            sku_ids: None,
            store_ids: None,
            issue: Issue::Grant,
            total: 0,
            limit_per_user: 0,
            validity: Validity::Days { days },
            stack_group: "default".to_owned(),
            exclusive: false,
        };
    let templates = [
        grant("新人礼", "首次登录即得，满 59 元减 10 元", 1_000, 5_900, 30),
        NewTemplate {
            issue: Issue::Claim,
            total: 1_000,
            limit_per_user: 2,
            ..grant("春茶上新", "满 128 元减 20 元，每人限领 2 张", 2_000, 12_800, 14)
        },
        grant("一点心意", "退款补偿，无门槛减 5 元", 500, 0, 60),
    ];
    let mut seeded = false;
    for (n, template) in (1..).zip(&templates) {
        seeded |= coupons::create_template(ctx, &ACTOR, &id(n), template).await?;
    }
    Ok(seeded)
}
