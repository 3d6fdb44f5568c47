//! Staff opens, changes and pauses stores.

mod dto;

use poem_openapi::OpenApi;
use poem_openapi::param::{Path, Query};
use poem_openapi::payload::Json;

use self::dto::{PauseForm, SeenVersion, StaffStore, StoreCreate, StoreUpdate};
use crate::kernel::{Cursor, Failure, Limit, Result, StoreId};
use crate::platform::ctx::Ctx;
use crate::platform::web::{Body, Created, List, Picture, Reply, Tag};
use crate::staff::StaffAuth;
use crate::stores::{self, NewStore, Pause, STORE_NOT_FOUND, Store, Stores, example_store};
use crate::wechat::mini::Mini;

pub struct StoresAdminApi {
    pub ctx: Ctx,
    pub stores: Stores,
    pub mini: Mini,
}

#[OpenApi(prefix_path = "/admin/v1", tag = "Tag::Stores")]
impl StoresAdminApi {
    /// All stores
    ///
    /// Changes nothing. Read from the database, in the order of their opening.
    ///
    /// Errors: `invalid_request`.
    #[oai(path = "/stores", method = "get", operation_id = "listStores")]
    async fn list(
        &self,
        auth: StaffAuth,
        /// 1 to 100, 20 unless told.
        #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
        limit: Query<Option<u32>>,
        /// `next_cursor` of the page before.
        cursor: Query<Option<Cursor>>,
    ) -> Reply<Json<List<StaffStore>>> {
        let limit = Limit::parse(limit.0)?;
        let mut conn = self.ctx.db.reader().await?;
        let page = stores::list(&mut conn, auth.scope(), cursor.0.as_ref(), limit).await?;
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
    /// It is still shown, as not open, and takes no orders until `until` or until it is resumed. Orders that
    /// were placed go on and can be fetched. Every node knows at once.
    ///
    /// Errors: `store_not_found`, `version_conflict`.
    #[oai(path = "/stores/:store_id/pause", method = "post", operation_id = "pauseStore")]
    async fn pause(
        &self,
        auth: StaffAuth,
        #[oai(example = "example_store")] store_id: Path<StoreId>,
        body: Body<PauseForm>,
    ) -> Reply<Json<StaffStore>> {
        let until_ms = body.until.map(|at| at.0);
        let pause = Pause::parse(until_ms, self.ctx.clock.now_ms())?;
        self.set_paused(&auth, &store_id, body.version, Some(pause)).await
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
        self.set_paused(&auth, &store_id, body.version, None).await
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
        let image = stores::qr_code(&self.ctx, &self.mini, &store_id, width).await?;
        Ok(Picture::kept_a_day(image.content_type, image.bytes))
    }
}

impl StoresAdminApi {
    async fn find(&self, id: &StoreId) -> Result<Store> {
        let store = stores::find(&mut *self.ctx.db.reader().await?, id).await?;
        store.ok_or_else(|| Failure::new(&STORE_NOT_FOUND).with("store_id", id.as_str().into()))
    }

    async fn set_paused(
        &self,
        auth: &StaffAuth,
        id: &StoreId,
        version: i64,
        pause: Option<Pause>,
    ) -> Reply<Json<StaffStore>> {
        let actor = auth.actor();
        let store = stores::set_paused(&self.ctx, &self.stores, &actor, id, version, pause).await?;
        Ok(Json(StaffStore::of(&self.ctx, store)))
    }
}
