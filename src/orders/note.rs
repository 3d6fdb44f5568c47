//! Notes of staff on an order: for staff alone, in its timeline.

use serde_json::json;

use super::OrderMove;
use super::moves::{hold, record};
use crate::kernel::{Actor, OrderId, Result};
use crate::platform::audit;
use crate::platform::ctx::Ctx;
use crate::platform::idempotency::{Done, Key};

/// Adds a note to an order, whatever its status. Customers do not see it.
///
/// # Errors
/// `order_not_found`.
pub async fn add_note(ctx: &Ctx, actor: &Actor, key: &Key, id: &OrderId, text: &str) -> Result<Done<()>> {
    key.run(ctx, |tx| {
        Box::pin(async move {
            let mut order = hold(tx, id).await?;
            record(tx, ctx, &mut order, OrderMove::NoteAdded, actor, json!({ "text": text })).await?;
            let entry = audit::Entry {
                actor,
                operation: "addOrderNote",
                object: id.as_str(),
                before: None::<()>,
                after: Some(json!({ "text": text })),
            };
            audit::record(tx, ctx, entry).await
        })
    })
    .await
}
