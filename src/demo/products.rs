//! Twelve products with twenty SKUs, their prices and their stock in every demo store.

use super::{ACTOR, id};
use crate::catalog::stock::{self, Supply, SupplyKind};
use crate::catalog::{self, Barcode, OfferTerms, ProductDetails, SkuDetails};
use crate::kernel::{Failure, Money, ProductId, Result, SkuId, StoreId};
use crate::platform::ctx::Ctx;
use crate::platform::db::Tx;

struct Demo {
    name: &'static str,
    category: &'static str,
    summary: &'static str,
    picture: &'static str,
    /// Name and price, fen.
    skus: &'static [(&'static str, i64)],
}

const DEMO: [Demo; 12] = [
    Demo {
        name: "明前龙井",
        category: "茶叶",
        summary: "西湖产区,清明前手工炒制",
        picture: "longjing",
        skus: &[("50 克罐装", 12_800), ("100 克罐装", 23_800), ("250 克礼盒", 56_800)],
    },
    Demo {
        name: "九曲红梅",
        category: "茶叶",
        summary: "杭州红茶,蜜香回甘",
        picture: "jiuqu-hongmei",
        skus: &[("50 克罐装", 8_800), ("100 克罐装", 16_800)],
    },
    Demo {
        name: "桂花乌龙冷泡茶包",
        category: "茶叶",
        summary: "十包独立装,冷热皆宜",
        picture: "guihua-wulong",
        skus: &[("10 包", 3_900)],
    },
    Demo {
        name: "西湖藕粉",
        category: "点心",
        summary: "桂花坚果,开水即冲",
        picture: "oufen",
        skus: &[("原味 300 克", 2_900), ("桂花 300 克", 3_200)],
    },
    Demo {
        name: "定胜糕",
        category: "点心",
        summary: "糯米豆沙,当日现蒸",
        picture: "dingsheng-gao",
        skus: &[("6 只装", 1_990)],
    },
    Demo {
        name: "山核桃仁",
        category: "点心",
        summary: "临安山核桃,当季新货",
        picture: "shanhetao",
        skus: &[("椒盐 120 克", 4_580), ("奶油 120 克", 4_580)],
    },
    Demo {
        name: "桂花糖",
        category: "点心",
        summary: "满陇桂雨,手工熬制",
        picture: "guihua-tang",
        skus: &[("180 克", 2_200)],
    },
    Demo {
        name: "真丝方巾",
        category: "丝绸",
        summary: "桑蚕丝,西湖十景印花",
        picture: "fangjin",
        skus: &[("断桥残雪", 19_900), ("三潭印月", 19_900)],
    },
    Demo {
        name: "天堂晴雨伞",
        category: "日用",
        summary: "黑胶防晒,三折轻便",
        picture: "yusan",
        skus: &[("湖蓝", 6_900), ("藕粉", 6_900)],
    },
    Demo {
        name: "龙泉青瓷盖碗",
        category: "器物",
        summary: "梅子青釉,150 毫升",
        picture: "gaiwan",
        skus: &[("单只", 15_800), ("一壶二杯套装", 32_800)],
    },
    Demo {
        name: "王星记檀香扇",
        category: "器物",
        summary: "拉花檀香,附锦盒",
        picture: "tanxiang-shan",
        skus: &[("8 寸", 26_800)],
    },
    Demo {
        name: "西湖手绘明信片",
        category: "文创",
        summary: "一套十二张",
        picture: "mingxinpian",
        skus: &[("12 张", 1_580)],
    },
];

/// SKUs that only the online store sells: 3 (the gift box) and 18 (the set).
const ONLINE_ONLY: [usize; 2] = [3, 18];

const STORES: usize = 4;

pub async fn seed(ctx: &Ctx) -> Result<bool> {
    ctx.db
        .write(|tx| {
            Box::pin(async move {
                if catalog::product(tx, &id::<ProductId>(1)).await?.is_some() {
                    return Ok(false);
                }
                let mut number = 0;
                for (index, demo) in DEMO.iter().enumerate() {
                    let product: ProductId = id(index + 1);
                    catalog::create_product(tx, ctx, &ACTOR, product.clone(), &details(demo)).await?;
                    for (name, price_minor) in demo.skus {
                        number += 1;
                        add_sku(tx, ctx, &product, number, name).await?;
                        sell(tx, ctx, number, *price_minor).await?;
                    }
                }
                Ok(true)
            })
        })
        .await
}

fn details(demo: &Demo) -> ProductDetails {
    ProductDetails {
        name: demo.name.to_owned(),
        category: demo.category.to_owned(),
        summary: demo.summary.to_owned(),
        description: format!("{}。{}。门店与线上同价,支持七天无理由退货。", demo.name, demo.summary),
        image: Some(format!("https://example.com/products/{}.jpg", demo.picture)),
    }
}

async fn add_sku(tx: &mut Tx<'_>, ctx: &Ctx, product: &ProductId, number: usize, name: &str) -> Result<()> {
    let digits = format!("6975612340{number:02}");
    let barcode: Barcode = format!("{digits}{}", Barcode::check_digit(digits.as_bytes()))
        .parse()
        .map_err(|why: String| Failure::internal("reading the demo data", why))?;
    let details = SkuDetails { name: name.to_owned(), barcode: Some(barcode), image: None };
    catalog::create_sku(tx, ctx, &ACTOR, id(number), product, &details).await?;
    Ok(())
}

/// The same price everywhere, and stock for each store.
async fn sell(tx: &mut Tx<'_>, ctx: &Ctx, number: usize, price_minor: i64) -> Result<()> {
    let sku: SkuId = id(number);
    for place in 1..=STORES {
        if place > 1 && ONLINE_ONLY.contains(&number) {
            continue;
        }
        let store: StoreId = id(place);
        let terms = OfferTerms { price: Money::cny(price_minor), on_sale: true, version: 0 };
        catalog::write_offer(tx, ctx, &ACTOR, &store, &sku, terms).await?;
        let quantity = stock_of(place, number);
        if quantity > 0 {
            let reason = "开店备货";
            let supply = Supply { store: &store, sku: &sku, quantity, kind: SupplyKind::Supply, reason };
            stock::supply(tx, ctx, &ACTOR, &supply).await?;
        }
    }
    Ok(())
}

/// Plenty online; in the stores enough of most, few of the fan, and no fresh cake left at the lake.
fn stock_of(place: usize, number: usize) -> i64 {
    match (place, number) {
        (1, _) => 500,
        (3, 9) => 0,
        (_, 19) => 3,
        _ => 40,
    }
}
