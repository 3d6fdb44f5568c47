//! Staff in a store: goods that are put together, fetched, and carried out.

use poem_openapi::param::{Header, Path, Query};
use poem_openapi::payload::Json;
use poem_openapi::types::Example;
use poem_openapi::{Object, OpenApi};
use serde_json::json;

use crate::kernel::{Cursor, Id, Limit, Money, OrderId, StoreId, rfc3339};
use crate::order_views::{self, PickupPreview, StaffOrder, StaffOrderDetail};
use crate::orders::{self, PickupStage, Shown};
use crate::platform::ctx::Ctx;
use crate::platform::idempotency::Key;
use crate::platform::web::{Answer, Body, List, Reply, Tag};
use crate::staff::StaffAuth;

/// A code that somebody shows in a store.
#[derive(Debug, Object)]
#[oai(example)]
pub struct CodeInput {
    /// Eight digits, as they are read or typed: spaces and hyphens do not matter.
    #[oai(validator(min_length = 8, max_length = 40))]
    pub code: String,
    /// The store you are in; absent: the only one that you are there for.
    pub store_id: Option<StoreId>,
}

impl Example for CodeInput {
    fn example() -> Self {
        Self { code: EXAMPLE_CODE.to_owned(), store_id: Some(example_store()) }
    }
}

/// A code that was looked up, and the order as it was seen.
#[derive(Debug, Object)]
#[oai(example)]
pub struct HandOverInput {
    #[oai(validator(min_length = 8, max_length = 40))]
    pub code: String,
    pub store_id: Option<StoreId>,
    /// Of the preview: an order that changed meanwhile is not handed over.
    pub version: i64,
}

impl Example for HandOverInput {
    fn example() -> Self {
        Self { code: EXAMPLE_CODE.to_owned(), store_id: Some(example_store()), version: 4 }
    }
}

/// The order as it was seen.
#[derive(Debug, Object)]
#[oai(example)]
pub struct SeenOrder {
    /// An order that changed meanwhile is refused.
    pub version: i64,
}

impl Example for SeenOrder {
    fn example() -> Self {
        Self { version: 3 }
    }
}

/// Nobody can know a code: the customer's phone shows it.
const EXAMPLE_CODE: &str = "the code on the phone";

fn example_store() -> StoreId {
    StoreId::from_tail("00000000000000000000000002")
}

/// An order that waits to be fetched.
#[derive(Debug, Object)]
pub struct WaitingPickup {
    #[oai(flatten)]
    pub order: StaffOrder,
    #[oai(skip_serializing_if_is_none)]
    pub ready_at: Option<String>,
    /// Not fetched for too long: what a refund would give back.
    #[oai(skip_serializing_if_is_none)]
    pub proposed_refund: Option<Money>,
}

pub struct AdminPickupsApi {
    pub ctx: Ctx,
}

#[OpenApi(prefix_path = "/admin/v1", tag = "Tag::Pickups")]
impl AdminPickupsApi {
    /// List orders that wait to be fetched
    ///
    /// The oldest first: those that are to be put together, those that are ready, and those that have been
    /// ready for longer than `orders.pickup_days`, each with the refund that is proposed. Changes nothing.
    ///
    /// Errors: `unauthenticated`, `invalid_request`.
    #[oai(path = "/pickups", method = "get", operation_id = "listPickups")]
    async fn list_pickups(
        &self,
        auth: StaffAuth,
        /// Absent: all that wait.
        stage: Query<Option<PickupStage>>,
        store_id: Query<Option<StoreId>>,
        /// 1 to 100, 20 unless told.
        #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
        limit: Query<Option<u32>>,
        /// `next_cursor` of the page before.
        cursor: Query<Option<Cursor>>,
    ) -> Reply<Json<List<WaitingPickup>>> {
        let limit = Limit::parse(limit.0)?;
        let (scope, store, after) = (auth.scope(), store_id.0.as_ref(), cursor.0.as_ref());
        let page = orders::pickups(&self.ctx, scope, stage.0, store, after, limit).await?;
        let mut items = Vec::with_capacity(page.items.len());
        for (order, lines) in page.items {
            let left_minor = order.paid_minor - order.refunded_minor - order.refunding_minor;
            let overdue = orders::is_overdue(&self.ctx, &order);
            items.push(WaitingPickup {
                ready_at: order.ready_ms.map(rfc3339),
                proposed_refund: overdue.then(|| Money::new(left_minor, order.currency)),
                order: order_views::staff_order(&self.ctx, order, &lines),
            });
        }
        Ok(Json(List { items, next_cursor: page.next }))
    }

    /// Say that an order can be fetched
    ///
    /// The order is READY_FOR_PICKUP; the customer gets a message with the place and the code, and is reminded
    /// after one day and three.
    ///
    /// Errors: `unauthenticated`, `order_not_found`, `ready_not_possible`, `order_changed`.
    #[oai(path = "/orders/:order_id/ready", method = "post", operation_id = "markOrderReady")]
    async fn mark_ready(
        &self,
        auth: StaffAuth,
        order_id: Path<OrderId>,
        #[oai(name = "Idempotency-Key", validator(min_length = 1, max_length = 128))] key: Header<String>,
    ) -> Reply<Answer<StaffOrderDetail>> {
        let actor = auth.actor();
        let key = Key::new(&actor, "markOrderReady", &key, &order_id.0)?;
        let done = orders::ready(&self.ctx, &actor, &key, &order_id).await?;
        Ok(Answer::of(order_views::staff_detail(&self.ctx, &order_id).await?, &done))
    }

    /// Look a code up
    ///
    /// What the code opens in your store: goods, and the customer with a masked phone number. Nothing is handed
    /// over. A code that opened something before says when. Codes that open nothing are counted, and after ten
    /// within a quarter of an hour you have to wait.
    ///
    /// Errors: `unauthenticated`, `pickup_code_unknown`, `pickup_tries_exceeded`, `already_handed_over`,
    /// `hand_over_not_possible`, `store_not_found`.
    #[oai(path = "/pickups/verify", method = "post", operation_id = "verifyPickup")]
    async fn verify(&self, auth: StaffAuth, body: Body<CodeInput>) -> Reply<Json<PickupPreview>> {
        let body = body.into_inner();
        let shown = Shown { store: body.store_id, code: body.code };
        let order = orders::verify(&self.ctx, &auth.0.id, auth.scope(), &shown).await?;
        Ok(Json(order_views::pickup_preview(&self.ctx, order).await?))
    }

    /// Hand over what a code opens
    ///
    /// The order is COMPLETED, all that was not refunded is with the customer, and the after-sale window
    /// begins; WeChat is told in the background. Refused while a refund is open.
    ///
    /// Errors: `unauthenticated`, `pickup_code_unknown`, `pickup_tries_exceeded`, `already_handed_over`,
    /// `hand_over_not_possible`, `refund_open`, `order_changed`, `store_not_found`.
    #[oai(path = "/pickups/hand-over", method = "post", operation_id = "handOverPickup")]
    async fn hand_over(
        &self,
        auth: StaffAuth,
        #[oai(name = "Idempotency-Key", validator(min_length = 1, max_length = 128))] key: Header<String>,
        body: Body<HandOverInput>,
    ) -> Reply<Answer<StaffOrderDetail>> {
        let key = Key::new(&auth.actor(), "handOverPickup", &key, body.raw())?;
        let body = body.into_inner();
        let shown = Shown { store: body.store_id, code: body.code };
        let done = orders::hand_over(&self.ctx, &auth.0.id, auth.scope(), &key, &shown, body.version).await?;
        Ok(Answer::of(order_views::staff_detail(&self.ctx, &done.value.order_id).await?, &done))
    }

    /// Check somebody out at the exit
    ///
    /// For what was bought beside the shelf: staff has compared the goods with the paid order. It is COMPLETED,
    /// as if its code had been scanned.
    ///
    /// Errors: `unauthenticated`, `order_not_found`, `already_handed_over`, `hand_over_not_possible`,
    /// `refund_open`, `order_changed`.
    #[oai(path = "/orders/:order_id/exit-check", method = "post", operation_id = "exitCheckOrder")]
    async fn exit_check(
        &self,
        auth: StaffAuth,
        order_id: Path<OrderId>,
        #[oai(name = "Idempotency-Key", validator(min_length = 1, max_length = 128))] key: Header<String>,
        body: Body<SeenOrder>,
    ) -> Reply<Answer<StaffOrderDetail>> {
        let actor = auth.actor();
        let key = Key::new(&actor, "exitCheckOrder", &key, &json!([order_id.0, body.raw()]))?;
        let done = orders::exit_check(&self.ctx, &actor, &key, &order_id, body.version).await?;
        Ok(Answer::of(order_views::staff_detail(&self.ctx, &order_id).await?, &done))
    }
}
