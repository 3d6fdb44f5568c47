//! The app's reads of stores.

use poem_openapi::OpenApi;
use poem_openapi::param::{Path, Query};

use super::{Location, StoreKind, StoreQuery, StoreView, Stores, example_store};
use crate::identity::UserAuth;
use crate::kernel::{Cursor, StoreId};
use crate::platform::ctx::Ctx;
use crate::platform::web::{CachedJson, List, Reply, Tag};

fn example_lat() -> Option<f64> {
    Some(30.2592)
}

fn example_lng() -> Option<f64> {
    Some(120.1655)
}

fn example_scene() -> String {
    super::EXAMPLE_SCENE.to_owned()
}

pub struct StoresApi {
    pub ctx: Ctx,
    pub stores: Stores,
}

#[OpenApi(prefix_path = "/api/v1", tag = "Tag::Stores")]
impl StoresApi {
    /// Stores, nearest first when you say where you are
    ///
    /// Changes nothing. Without `lat` and `lng` the stores come in the order of their opening; with both,
    /// physical stores come nearest first with `distance_m`, and the online store behind them. A cursor
    /// remembers where its list was measured from. Paused stores are listed and not open.
    ///
    /// Errors: `invalid_request`.
    #[oai(path = "/stores", method = "get", operation_id = "listStores")]
    #[expect(clippy::too_many_arguments, reason = "each is a query parameter of the operation")]
    async fn list(
        &self,
        _auth: UserAuth,
        /// Degrees, together with `lng`.
        #[oai(example = "example_lat", validator(minimum(value = "-90"), maximum(value = "90")))]
        lat: Query<Option<f64>>,
        /// Degrees, together with `lat`.
        #[oai(example = "example_lng", validator(minimum(value = "-180"), maximum(value = "180")))]
        lng: Query<Option<f64>>,
        /// Only online or only physical stores.
        kind: Query<Option<StoreKind>>,
        /// `true`: only stores that are open at this moment.
        open_now: Query<Option<bool>>,
        /// 1 to 100, 20 unless told.
        #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
        limit: Query<Option<u32>>,
        /// `next_cursor` of the page before.
        cursor: Query<Option<Cursor>>,
    ) -> Reply<CachedJson<List<StoreView>>> {
        let from = Location::parse(lat.0, lng.0)?;
        let open_now = open_now.0.unwrap_or(false);
        let query = StoreQuery::parse(kind.0, open_now, from, limit.0, cursor.0.as_ref())?;
        Ok(CachedJson::new(self.stores.list(&self.ctx, &query).await?))
    }

    /// One store
    ///
    /// Changes nothing.
    ///
    /// Errors: `store_not_found`.
    #[oai(path = "/stores/:store_id", method = "get", operation_id = "getStore")]
    async fn get(
        &self,
        _auth: UserAuth,
        #[oai(example = "example_store")] store_id: Path<StoreId>,
    ) -> Reply<CachedJson<StoreView>> {
        Ok(CachedJson::new(self.stores.by_id(&self.ctx, &store_id).await?))
    }

    /// The store whose QR code was scanned
    ///
    /// Changes nothing. `scene` is what the QR code in a store carries; WeChat hands it to the page as
    /// the launch parameter `scene`.
    ///
    /// Errors: `store_not_found`.
    #[oai(path = "/stores/by-scene/:scene", method = "get", operation_id = "getStoreByScene")]
    async fn by_scene(
        &self,
        _auth: UserAuth,
        #[oai(example = "example_scene", validator(min_length = 1, max_length = 32))] scene: Path<String>,
    ) -> Reply<CachedJson<StoreView>> {
        Ok(CachedJson::new(self.stores.by_scene(&self.ctx, &scene).await?))
    }
}
