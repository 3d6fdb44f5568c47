//! What staff sends and sees of stores.

use poem_openapi::Object;
use poem_openapi::types::Example;

use crate::kernel::{Currency, Failure, Moment, Money, Result, StoreId, rfc3339};
use crate::platform::ctx::Ctx;
use crate::stores::{EXAMPLE_SCENE, OpenHours, OpenRange, Store, StoreDetails, StoreKind, TimeOfDay};

/// What staff decides about a store.
#[derive(Object)]
pub struct StoreForm {
    #[oai(validator(min_length = 1, max_length = 64))]
    pub name: String,
    #[oai(validator(min_length = 1, max_length = 32))]
    pub phone: String,
    #[oai(validator(min_length = 1, max_length = 32))]
    pub province: String,
    #[oai(validator(min_length = 1, max_length = 32))]
    pub city: String,
    #[oai(validator(min_length = 1, max_length = 32))]
    pub district: String,
    #[oai(validator(min_length = 1, max_length = 200))]
    pub address: String,
    /// Degrees.
    #[oai(validator(minimum(value = "-90"), maximum(value = "90")))]
    pub lat: f64,
    /// Degrees.
    #[oai(validator(minimum(value = "-180"), maximum(value = "180")))]
    pub lng: f64,
    /// IANA name, like `Asia/Shanghai`: the open hours are of this zone.
    #[oai(validator(min_length = 1, max_length = 64))]
    pub time_zone: String,
    pub hours: OpenHours,
    /// What delivery costs. Its currency is the store's.
    pub freight: Money,
    /// Delivery is free from this goods total on, after discounts. Absent: never.
    pub free_freight_from: Option<Money>,
    /// What the store's QR code carries: 1 to 32 of the characters that WeChat allows, no other store's.
    #[oai(validator(pattern = "^[0-9A-Za-z!#$&'()*+,/:;=?@._~-]{1,32}$"))]
    pub scene: String,
    #[oai(validator(pattern = "^https://", max_length = 500))]
    pub image: Option<String>,
}

impl StoreForm {
    pub fn details(&self, currency: Currency) -> Result<StoreDetails> {
        let minor = |field: &str, money: Money| {
            if money.currency == currency {
                Ok(money.amount)
            } else {
                Err(Failure::invalid(
                    format!("/{field}/currency"),
                    format!("this store's currency is {currency}"),
                ))
            }
        };
        Ok(StoreDetails {
            name: self.name.clone(),
            phone: self.phone.clone(),
            province: self.province.clone(),
            city: self.city.clone(),
            district: self.district.clone(),
            address: self.address.clone(),
            lat: self.lat,
            lng: self.lng,
            time_zone: self.time_zone.clone(),
            hours: self.hours.clone(),
            freight_minor: minor("freight", self.freight)?,
            free_freight_from_minor: self
                .free_freight_from
                .map(|money| minor("free_freight_from", money))
                .transpose()?,
            scene: self.scene.clone(),
            image: self.image.clone(),
        })
    }
}

impl Example for StoreForm {
    fn example() -> Self {
        let range = TimeOfDay::new(9, 0).zip(TimeOfDay::new(22, 0)).map(|(from, to)| OpenRange { from, to });
        Self {
            name: "武林店".to_owned(),
            phone: "0571-85060101".to_owned(),
            province: "浙江省".to_owned(),
            city: "杭州市".to_owned(),
            district: "拱墅区".to_owned(),
            address: "延安路 530 号".to_owned(),
            lat: 30.2718,
            lng: 120.1634,
            time_zone: "Asia/Shanghai".to_owned(),
            hours: OpenHours::every_day(range.as_slice()),
            freight: Money::cny(800),
            free_freight_from: Some(Money::cny(9_900)),
            scene: EXAMPLE_SCENE.to_owned(),
            image: Some("https://example.com/stores/wulin.jpg".to_owned()),
        }
    }
}

/// A store to open.
#[derive(Object)]
#[oai(example)]
pub struct StoreCreate {
    /// Fixed from now on, like the currency of `freight`.
    pub kind: StoreKind,
    #[oai(flatten)]
    pub store: StoreForm,
}

impl Example for StoreCreate {
    fn example() -> Self {
        let store =
            StoreForm {
                name: "城西店".to_owned(), scene: "hz-chengxi".to_owned(), ..StoreForm::example()
            };
        Self { kind: StoreKind::Physical, store }
    }
}

/// A store as it is to be, and the version that this was made from.
#[derive(Object)]
#[oai(example)]
pub struct StoreUpdate {
    pub version: i64,
    #[oai(flatten)]
    pub store: StoreForm,
}

impl Example for StoreUpdate {
    fn example() -> Self {
        Self { version: 2, store: StoreForm::example() }
    }
}

/// The version that was seen.
#[derive(Object)]
#[oai(example)]
pub struct SeenVersion {
    pub version: i64,
}

impl Example for SeenVersion {
    fn example() -> Self {
        Self { version: 2 }
    }
}

/// For how long a store is paused.
#[derive(Object)]
#[oai(example)]
pub struct PauseForm {
    pub version: i64,
    /// When it takes orders again by itself (RFC 3339), rounded up to the minute; absent: when somebody
    /// resumes it.
    pub until: Option<Moment>,
}

impl Example for PauseForm {
    fn example() -> Self {
        Self { version: 2, until: None }
    }
}

/// A store as staff sees it.
#[derive(Object)]
pub struct StaffStore {
    pub id: StoreId,
    pub kind: StoreKind,
    pub name: String,
    pub phone: String,
    pub province: String,
    pub city: String,
    pub district: String,
    pub address: String,
    pub lat: f64,
    pub lng: f64,
    pub time_zone: String,
    pub hours: OpenHours,
    pub freight: Money,
    #[oai(skip_serializing_if_is_none)]
    pub free_freight_from: Option<Money>,
    pub scene: String,
    #[oai(skip_serializing_if_is_none)]
    pub image: Option<String>,
    /// Takes no orders now.
    pub paused: bool,
    /// When the pause ends by itself.
    #[oai(skip_serializing_if_is_none)]
    pub paused_until: Option<String>,
    pub open_now: bool,
    /// Name it in the next edit.
    pub version: i64,
    /// RFC 3339.
    pub created_at: String,
}

impl StaffStore {
    pub fn of(ctx: &Ctx, store: Store) -> Self {
        let now_ms = ctx.clock.now_ms();
        let (open_now, paused) = (store.is_open_at(now_ms), store.is_paused_at(now_ms));
        let money = |minor| Money::new(minor, store.currency);
        let details = store.details;
        Self {
            id: store.id,
            kind: store.kind,
            name: details.name,
            phone: details.phone,
            province: details.province,
            city: details.city,
            district: details.district,
            address: details.address,
            lat: details.lat,
            lng: details.lng,
            time_zone: details.time_zone,
            hours: details.hours,
            freight: money(details.freight_minor),
            free_freight_from: details.free_freight_from_minor.map(money),
            scene: details.scene,
            image: details.image,
            paused,
            paused_until: store.paused_until_ms.filter(|_| paused).map(rfc3339),
            open_now,
            version: store.version,
            created_at: rfc3339(store.created_ms),
        }
    }
}
