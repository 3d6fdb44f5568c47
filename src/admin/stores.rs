//! Staff opens, changes and pauses stores.

use bytes::Bytes;
use poem::http::header;
use poem::{IntoResponse, Response};
use poem_openapi::param::{Path, Query};
use poem_openapi::payload::{Binary, Json, Payload};
use poem_openapi::registry::{MetaMediaType, MetaResponse, MetaResponses, Registry};
use poem_openapi::types::Example;
use poem_openapi::{ApiResponse, Object, OpenApi};

use crate::kernel::{Currency, Cursor, Failure, Limit, Money, Result, StoreId, rfc3339};
use crate::platform::ctx::Ctx;
use crate::platform::web::{Body, Created, List, Reply, Tag};
use crate::staff::StaffAuth;
use crate::stores::{
    self, EXAMPLE_SCENE, NewStore, OpenHours, OpenRange, STORE_NOT_FOUND, Store, StoreDetails, StoreKind,
    Stores, TimeOfDay, example_store,
};
use crate::wechat::mini::{Image, Mini};

/// What staff decides about a store.
#[derive(Object)]
pub struct StoreForm {
    #[oai(validator(min_length = 1, max_length = 64))]
    name: String,
    #[oai(validator(min_length = 1, max_length = 32))]
    phone: String,
    #[oai(validator(min_length = 1, max_length = 32))]
    province: String,
    #[oai(validator(min_length = 1, max_length = 32))]
    city: String,
    #[oai(validator(min_length = 1, max_length = 32))]
    district: String,
    #[oai(validator(min_length = 1, max_length = 200))]
    address: String,
    /// Degrees.
    #[oai(validator(minimum(value = "-90"), maximum(value = "90")))]
    lat: f64,
    /// Degrees.
    #[oai(validator(minimum(value = "-180"), maximum(value = "180")))]
    lng: f64,
    /// IANA name, like `Asia/Shanghai`: the open hours are of this zone.
    #[oai(validator(min_length = 1, max_length = 64))]
    time_zone: String,
    hours: OpenHours,
    /// What delivery costs. Its currency is the store's.
    freight: Money,
    /// Delivery is free from this goods total on, after discounts. Absent: never.
    free_freight_from: Option<Money>,
    /// What the store's QR code carries: 1 to 32 of the characters that WeChat allows, no other store's.
    #[oai(validator(pattern = "^[0-9A-Za-z!#$&'()*+,/:;=?@._~-]{1,32}$"))]
    scene: String,
    #[oai(validator(pattern = "^https://", max_length = 500))]
    image: Option<String>,
}

impl StoreForm {
    fn details(&self, currency: Currency) -> Result<StoreDetails> {
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
    kind: StoreKind,
    #[oai(flatten)]
    store: StoreForm,
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
    version: i64,
    #[oai(flatten)]
    store: StoreForm,
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
    version: i64,
}

impl Example for SeenVersion {
    fn example() -> Self {
        Self { version: 2 }
    }
}

/// A store as staff sees it.
#[derive(Object)]
pub struct StaffStore {
    id: StoreId,
    kind: StoreKind,
    name: String,
    phone: String,
    province: String,
    city: String,
    district: String,
    address: String,
    lat: f64,
    lng: f64,
    time_zone: String,
    hours: OpenHours,
    freight: Money,
    #[oai(skip_serializing_if_is_none)]
    free_freight_from: Option<Money>,
    scene: String,
    #[oai(skip_serializing_if_is_none)]
    image: Option<String>,
    paused: bool,
    open_now: bool,
    /// Name it in the next edit.
    version: i64,
    /// RFC 3339.
    created_at: String,
}

impl StaffStore {
    fn of(ctx: &Ctx, store: Store) -> Self {
        let open_now = store.is_open_at(ctx.clock.now_ms());
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
            paused: store.paused,
            open_now,
            version: store.version,
            created_at: rfc3339(store.created_ms),
        }
    }
}

/// An image as WeChat drew it: JPEG or PNG.
pub struct Picture(Image);

impl IntoResponse for Picture {
    fn into_response(self) -> Response {
        Response::builder()
            .header(header::CONTENT_TYPE, self.0.content_type)
            .header(header::CACHE_CONTROL, "private, max-age=86400")
            .body(Bytes::from(self.0.bytes))
    }
}

impl ApiResponse for Picture {
    fn meta() -> MetaResponses {
        let media =
            |content_type| MetaMediaType { content_type, schema: <Binary<Vec<u8>> as Payload>::schema_ref() };
        MetaResponses {
            responses: vec![MetaResponse {
                description: "The image",
                status: Some(200),
                status_range: None,
                content: vec![media("image/jpeg"), media("image/png")],
                headers: vec![],
            }],
        }
    }

    fn register(_registry: &mut Registry) {}
}

pub struct AdminStoresApi {
    pub ctx: Ctx,
    pub stores: Stores,
    pub mini: Mini,
}

#[OpenApi(prefix_path = "/admin/v1", tag = "Tag::Stores")]
impl AdminStoresApi {
    /// All stores
    ///
    /// Changes nothing. Read from the database, in the order of their opening.
    ///
    /// Errors: `invalid_request`.
    #[oai(path = "/stores", method = "get", operation_id = "listStores")]
    async fn list(
        &self,
        _auth: StaffAuth,
        /// 1 to 100, 20 unless told.
        #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
        limit: Query<Option<u32>>,
        /// `next_cursor` of the page before.
        cursor: Query<Option<Cursor>>,
    ) -> Reply<Json<List<StaffStore>>> {
        let limit = Limit::parse(limit.0)?;
        let mut conn = self.ctx.db.reader().await?;
        let page = stores::list(&mut conn, cursor.0.as_ref(), limit).await?;
        Ok(List::from_page(page, |store| StaffStore::of(&self.ctx, store)))
    }

    /// One store
    ///
    /// Changes nothing. Its `version` is what an edit must name.
    ///
    /// Errors: `store_not_found`.
    #[oai(path = "/stores/:store_id", method = "get", operation_id = "getStore")]
    async fn get(
        &self,
        _auth: StaffAuth,
        #[oai(example = "example_store")] store_id: Path<StoreId>,
    ) -> Reply<Json<StaffStore>> {
        Ok(Json(StaffStore::of(&self.ctx, self.find(&store_id).await?)))
    }

    /// Open a store
    ///
    /// Adds the store; every node shows it at once. Kind and currency (that of `freight`) are fixed from
    /// then on. It sells nothing until prices are set.
    ///
    /// Errors: `scene_taken`, `too_many_stores`.
    #[oai(path = "/stores", method = "post", operation_id = "createStore")]
    async fn create(&self, auth: StaffAuth, body: Body<StoreCreate>) -> Reply<Created<StaffStore>> {
        let currency = body.store.freight.currency;
        let new = NewStore { kind: body.kind, currency, details: body.store.details(currency)? };
        let store = stores::add(&self.ctx, &self.stores, &auth.actor(), &new).await?;
        Ok(Created::new(StaffStore::of(&self.ctx, store)))
    }

    /// Change a store
    ///
    /// Replaces all details; every node shows it at once. `version` is the one that was read: somebody
    /// else's change in between is not overwritten. Orders that were placed keep what they said.
    ///
    /// Errors: `store_not_found`, `version_conflict`, `scene_taken`.
    #[oai(path = "/stores/:store_id", method = "put", operation_id = "updateStore")]
    async fn update(
        &self,
        auth: StaffAuth,
        #[oai(example = "example_store")] store_id: Path<StoreId>,
        body: Body<StoreUpdate>,
    ) -> Reply<Json<StaffStore>> {
        // The currency never changes, so it may be read before the edit.
        let details = body.store.details(self.find(&store_id).await?.currency)?;
        let actor = auth.actor();
        let store = stores::edit(&self.ctx, &self.stores, &actor, &store_id, body.version, &details).await?;
        Ok(Json(StaffStore::of(&self.ctx, store)))
    }

    /// Pause a store
    ///
    /// It is still shown, as not open, and takes no orders until it is resumed. Orders that were placed go on.
    ///
    /// Errors: `store_not_found`, `version_conflict`.
    #[oai(path = "/stores/:store_id/pause", method = "post", operation_id = "pauseStore")]
    async fn pause(
        &self,
        auth: StaffAuth,
        #[oai(example = "example_store")] store_id: Path<StoreId>,
        body: Body<SeenVersion>,
    ) -> Reply<Json<StaffStore>> {
        self.set_paused(&auth, &store_id, body.version, true).await
    }

    /// Resume a store
    ///
    /// It is open by its hours again and takes orders.
    ///
    /// Errors: `store_not_found`, `version_conflict`.
    #[oai(path = "/stores/:store_id/resume", method = "post", operation_id = "resumeStore")]
    async fn resume(
        &self,
        auth: StaffAuth,
        #[oai(example = "example_store")] store_id: Path<StoreId>,
        body: Body<SeenVersion>,
    ) -> Reply<Json<StaffStore>> {
        self.set_paused(&auth, &store_id, body.version, false).await
    }

    /// The QR code of a store
    ///
    /// Changes nothing. WeChat draws the code that opens the mini-program with the store's scene, as JPEG or
    /// PNG; print it and hang it up in the store.
    ///
    /// Errors: `store_not_found`, `qr_code_refused`, `qr_code_unavailable`.
    #[oai(path = "/stores/:store_id/qr-code", method = "get", operation_id = "getStoreQrCode")]
    async fn qr_code(
        &self,
        _auth: StaffAuth,
        #[oai(example = "example_store")] store_id: Path<StoreId>,
        /// Pixels, 430 unless told.
        #[oai(validator(minimum(value = "280"), maximum(value = "1280")))]
        width: Query<Option<u32>>,
    ) -> Reply<Picture> {
        let width = width.0.unwrap_or(430);
        Ok(Picture(stores::qr_code(&self.ctx, &self.mini, &store_id, width).await?))
    }
}

impl AdminStoresApi {
    async fn find(&self, id: &StoreId) -> Result<Store> {
        let store = stores::find(&mut *self.ctx.db.reader().await?, id).await?;
        store.ok_or_else(|| Failure::new(&STORE_NOT_FOUND).with("store_id", id.as_str().into()))
    }

    async fn set_paused(
        &self,
        auth: &StaffAuth,
        id: &StoreId,
        version: i64,
        paused: bool,
    ) -> Reply<Json<StaffStore>> {
        let actor = auth.actor();
        let store = stores::set_paused(&self.ctx, &self.stores, &actor, id, version, paused).await?;
        Ok(Json(StaffStore::of(&self.ctx, store)))
    }
}
