//! Customers as staff sees them, and what of them is shown only on demand.

use poem_openapi::param::{Path, Query};
use poem_openapi::payload::Json;
use poem_openapi::types::Example;
use poem_openapi::{Object, OpenApi};

use crate::identity::Sought;
use crate::kernel::{Cursor, Id, Limit, OrderId, UserId};
use crate::order_views::{self, PersonDetail, PersonView};
use crate::orders::{self, Recipient};
use crate::platform::ctx::Ctx;
use crate::platform::web::{Body, List, Reply, Tag};
use crate::staff::StaffAuth;

/// Why somebody looks at what is shown only on demand.
#[derive(Debug, Object)]
#[oai(example)]
pub struct RevealInput {
    /// For the audit log.
    #[oai(validator(min_length = 1, max_length = 100))]
    pub reason: String,
}

impl Example for RevealInput {
    fn example() -> Self {
        Self { reason: "核对收货地址".to_owned() }
    }
}

/// A phone number in full.
#[derive(Debug, Object)]
pub struct RevealedPhone {
    pub phone: String,
}

/// Whose recipients are to be shown, and why.
#[derive(Debug, Object)]
#[oai(example)]
pub struct RevealRecipientsInput {
    #[oai(validator(min_items = 1, max_items = 100, unique_items))]
    pub order_ids: Vec<OrderId>,
    /// For the audit log.
    #[oai(validator(min_length = 1, max_length = 100))]
    pub reason: String,
}

impl Example for RevealRecipientsInput {
    fn example() -> Self {
        Self { order_ids: vec![OrderId::from_tail(&"0".repeat(26))], reason: "打印面单".to_owned() }
    }
}

/// Whom an order goes to, in full.
#[derive(Debug, Object)]
pub struct RecipientView {
    pub order_id: OrderId,
    pub recipient: String,
    pub phone: String,
    pub province: String,
    pub city: String,
    pub district: String,
    pub detail: String,
    #[oai(skip_serializing_if_is_none)]
    pub postal_code: Option<String>,
}

impl From<Recipient> for RecipientView {
    fn from(Recipient { order_id, address }: Recipient) -> Self {
        Self {
            order_id,
            phone: address.phone.as_str().to_owned(),
            recipient: address.recipient,
            province: address.province,
            city: address.city,
            district: address.district,
            detail: address.detail,
            postal_code: address.postal_code,
        }
    }
}

pub struct AdminUsersApi {
    pub ctx: Ctx,
}

#[OpenApi(prefix_path = "/admin/v1")]
impl AdminUsersApi {
    /// List users
    ///
    /// The newest first; with `q` the one with this id, whoever has this phone number, or in their order those
    /// whose nickname begins like it. Members whose stores are limited find by id or number who has ordered there.
    /// Changes nothing.
    ///
    /// Errors: `unauthenticated`, `invalid_request`.
    #[oai(path = "/users", method = "get", operation_id = "listUsers", tag = "Tag::Users")]
    async fn list_users(
        &self,
        auth: StaffAuth,
        /// An id, a whole phone number, or the beginning of a nickname.
        #[oai(validator(min_length = 1, max_length = 64))]
        q: Query<Option<String>>,
        /// 1 to 100, 20 unless told.
        #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
        limit: Query<Option<u32>>,
        /// `next_cursor` of the page before.
        cursor: Query<Option<Cursor>>,
    ) -> Reply<Json<List<PersonView>>> {
        let sought = Sought::parse(q.0.as_deref().unwrap_or_default());
        let limit = Limit::parse(limit.0)?;
        let cursor = cursor.0.as_ref();
        let page = order_views::people(&self.ctx, auth.scope(), &sought, cursor, limit).await?;
        Ok(Json(List { items: page.items, next_cursor: page.next }))
    }

    /// One user
    ///
    /// With orders by status, the newest orders of the member's stores, and the newest coupons. Changes nothing.
    ///
    /// Errors: `unauthenticated`, `user_not_found`.
    #[oai(path = "/users/:user_id", method = "get", operation_id = "getUser", tag = "Tag::Users")]
    async fn get_user(&self, auth: StaffAuth, user_id: Path<UserId>) -> Reply<Json<PersonDetail>> {
        Ok(Json(order_views::person_detail(&self.ctx, auth.scope(), &user_id).await?))
    }

    /// Show a user's phone number
    ///
    /// In full. Leaves an audit row with the reason, and changes nothing else.
    ///
    /// Errors: `unauthenticated`, `user_not_found`, `phone_not_known`.
    #[oai(
        path = "/users/:user_id/reveal-phone",
        method = "post",
        operation_id = "revealPhone",
        tag = "Tag::Users"
    )]
    async fn reveal_phone(
        &self,
        auth: StaffAuth,
        user_id: Path<UserId>,
        body: Body<RevealInput>,
    ) -> Reply<Json<RevealedPhone>> {
        let (actor, scope) = (auth.actor(), auth.scope());
        let phone = order_views::reveal_phone(&self.ctx, &actor, scope, &user_id, &body.reason).await?;
        Ok(Json(RevealedPhone { phone: phone.as_str().to_owned() }))
    }

    /// Show whom orders go to
    ///
    /// Name, phone number and address in full, for the labels of parcels: of up to 100 orders, or of none if one
    /// of them can't be shown. Leaves an audit row on each order with the reason, and changes nothing else.
    ///
    /// Errors: `unauthenticated`, `order_not_found`, `no_recipient`.
    #[oai(
        path = "/orders/reveal-recipients",
        method = "post",
        operation_id = "revealRecipients",
        tag = "Tag::Orders"
    )]
    async fn reveal_recipients(
        &self,
        auth: StaffAuth,
        body: Body<RevealRecipientsInput>,
    ) -> Reply<Json<List<RecipientView>>> {
        let (ids, reason) = (&body.order_ids, &body.reason);
        let found = orders::reveal_recipients(&self.ctx, &auth.actor(), auth.scope(), ids, reason).await?;
        Ok(List::whole(found.into_iter().map(RecipientView::from).collect()))
    }
}
