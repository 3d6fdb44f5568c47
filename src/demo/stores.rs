//! One online store and three in Hangzhou.

use super::{ACTOR, id};
use crate::kernel::{Currency, Result, StoreId};
use crate::platform::ctx::Ctx;
use crate::stores::{self, NewStore, OpenException, OpenHours, OpenRange, StoreDetails, StoreKind};

struct Demo {
    kind: StoreKind,
    name: &'static str,
    phone: &'static str,
    district: &'static str,
    address: &'static str,
    lat: f64,
    lng: f64,
    from: &'static str,
    to: &'static str,
    scene: &'static str,
}

const DEMO: [Demo; 4] = [
    Demo {
        kind: StoreKind::Online,
        name: "西湖好物·线上店",
        phone: "400-100-0571",
        district: "余杭区",
        address: "文一西路 969 号 3 号仓",
        lat: 30.2799,
        lng: 120.0266,
        from: "00:00",
        to: "00:00",
        scene: "online",
    },
    Demo {
        kind: StoreKind::Physical,
        name: "武林店",
        phone: "0571-85060101",
        district: "拱墅区",
        address: "延安路 530 号",
        lat: 30.2718,
        lng: 120.1634,
        from: "09:00",
        to: "22:00",
        scene: stores::EXAMPLE_SCENE,
    },
    Demo {
        kind: StoreKind::Physical,
        name: "湖滨店",
        phone: "0571-87060202",
        district: "上城区",
        address: "平海路 124 号",
        lat: 30.2560,
        lng: 120.1633,
        from: "10:00",
        to: "22:30",
        scene: "hz-hubin",
    },
    Demo {
        kind: StoreKind::Physical,
        name: "滨江夜市店",
        phone: "0571-86060303",
        district: "滨江区",
        address: "江南大道 228 号",
        lat: 30.2084,
        lng: 120.2123,
        from: "16:00",
        to: "02:00",
        scene: "hz-binjiang",
    },
];

pub async fn seed(ctx: &Ctx) -> Result<bool> {
    ctx.db
        .write(|tx| {
            Box::pin(async move {
                if stores::find(tx, &id::<StoreId>(1)).await?.is_some() {
                    return Ok(false);
                }
                for (index, demo) in DEMO.iter().enumerate() {
                    stores::create(tx, ctx, &ACTOR, id(index + 1), &new_store(demo)?).await?;
                }
                Ok(true)
            })
        })
        .await
}

fn new_store(demo: &Demo) -> Result<NewStore> {
    let wrong = |why: String| crate::kernel::Failure::internal("reading the demo data", why);
    let range = OpenRange { from: demo.from.parse().map_err(wrong)?, to: demo.to.parse().map_err(wrong)? };
    let mut hours = OpenHours::every_day(&[range]);
    if demo.kind == StoreKind::Physical {
        // The first day of the Spring Festival.
        let date = "2027-02-06".parse().map_err(wrong)?;
        hours.exceptions.push(OpenException { date, ranges: vec![] });
    }
    Ok(NewStore {
        kind: demo.kind,
        currency: Currency::Cny,
        details: StoreDetails {
            name: demo.name.to_owned(),
            phone: demo.phone.to_owned(),
            province: "浙江省".to_owned(),
            city: "杭州市".to_owned(),
            district: demo.district.to_owned(),
            address: demo.address.to_owned(),
            lat: demo.lat,
            lng: demo.lng,
            time_zone: "Asia/Shanghai".to_owned(),
            hours,
            freight_minor: 800,
            free_freight_from_minor: Some(9_900),
            scene: demo.scene.to_owned(),
            image: Some(format!("https://example.com/stores/{}.jpg", demo.scene)),
        },
    })
}
