//! What a path parameter names, and of which store that is: members whose stores are limited find nothing
//! outside of them, whichever operation they call. Lists are narrowed by their queries instead.

use std::str::FromStr;

use crate::kernel::{
    AttemptId, DiscrepancyId, Failure, OrderId, ParcelId, ProposalId, RefundId, RefundPhotoId, Result,
    StoreId,
};
use crate::orders::{self, ORDER_NOT_FOUND};
use crate::payments::{self, PAYMENT_NOT_FOUND};
use crate::platform::db::{BoxFuture, Conn};
use crate::platform::proposals::{self, PROPOSAL_NOT_FOUND};
use crate::refunds::{self, DISCREPANCY_NOT_FOUND, PHOTO_NOT_FOUND, REFUND_NOT_FOUND};
use crate::shipping::{self, PARCEL_NOT_FOUND};
use crate::staff::{STORES_LIMITED, StoreScope};
use crate::stores::STORE_NOT_FOUND;

/// Path parameters that name nothing of a single store. A new one joins them, or [`in_scope`]. Files of parcels and
/// users have rules of their own.
pub const OF_NO_STORE: &[&str] =
    &["product_id", "sku_id", "template_id", "user_id", "coupon_id", "session_id", "batch_id"];

/// The rule of the staff's gate, see [`crate::staff::Gate`].
pub fn in_scope<'x>(
    conn: &'x mut Conn,
    scope: &'x StoreScope,
    name: &'x str,
    value: &'x str,
) -> BoxFuture<'x, Result<()>> {
    Box::pin(async move {
        let (store, missing) = match name {
            "store_id" => (value.parse::<StoreId>().ok(), &STORE_NOT_FOUND),
            "order_id" => (of_order(conn, id(value)).await?, &ORDER_NOT_FOUND),
            "parcel_id" => (of_parcel(conn, id(value)).await?, &PARCEL_NOT_FOUND),
            "refund_id" => (of_refund(conn, id(value)).await?, &REFUND_NOT_FOUND),
            "attempt_id" => (of_attempt(conn, id(value)).await?, &PAYMENT_NOT_FOUND),
            "photo_id" => (of_photo(conn, id(value)).await?, &PHOTO_NOT_FOUND),
            "discrepancy_id" => (of_discrepancy(conn, id(value)).await?, &DISCREPANCY_NOT_FOUND),
            "proposal_id" => (of_proposal(conn, id(value)).await?, &PROPOSAL_NOT_FOUND),
            name if OF_NO_STORE.contains(&name) => return Ok(()),
            _ => return Err(Failure::new(&STORES_LIMITED)),
        };
        match store {
            Some(store) if scope.has(&store) => Ok(()),
            _ => Err(Failure::new(missing)),
        }
    })
}

/// What is no id names nothing.
fn id<T: FromStr>(value: &str) -> Option<T> {
    value.parse().ok()
}

async fn of_order(conn: &mut Conn, id: Option<OrderId>) -> Result<Option<StoreId>> {
    match id {
        Some(id) => orders::store_of(conn, &id).await,
        None => Ok(None),
    }
}

async fn of_parcel(conn: &mut Conn, id: Option<ParcelId>) -> Result<Option<StoreId>> {
    let Some(id) = id else { return Ok(None) };
    let parcel = shipping::parcel(conn, &id).await?;
    of_order(conn, parcel.map(|parcel| parcel.order_id)).await
}

async fn of_refund(conn: &mut Conn, id: Option<RefundId>) -> Result<Option<StoreId>> {
    let Some(id) = id else { return Ok(None) };
    let refund = refunds::by_id(conn, &id).await?;
    of_order(conn, refund.map(|refund| refund.order_id)).await
}

async fn of_attempt(conn: &mut Conn, id: Option<AttemptId>) -> Result<Option<StoreId>> {
    let Some(id) = id else { return Ok(None) };
    let attempt = payments::by_id(conn, &id).await?;
    of_order(conn, attempt.map(|attempt| attempt.order_id)).await
}

async fn of_photo(conn: &mut Conn, id: Option<RefundPhotoId>) -> Result<Option<StoreId>> {
    let Some(id) = id else { return Ok(None) };
    let refund = refunds::refund_of_photo(conn, &id).await?;
    of_refund(conn, refund).await
}

async fn of_discrepancy(conn: &mut Conn, id: Option<DiscrepancyId>) -> Result<Option<StoreId>> {
    let Some(id) = id else { return Ok(None) };
    let found = refunds::discrepancy(conn, &id).await?;
    of_order(conn, found.map(|found| found.order_id)).await
}

async fn of_proposal(conn: &mut Conn, id: Option<ProposalId>) -> Result<Option<StoreId>> {
    let Some(id) = id else { return Ok(None) };
    Ok(proposals::find(conn, &id).await?.map(|proposal| proposal.store_id))
}
