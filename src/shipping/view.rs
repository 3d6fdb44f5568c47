//! Parcels and uploads as an order's page shows them.

use poem_openapi::Object;

use super::{UploadState, sql};
use crate::kernel::{OrderId, OrderLineId, ParcelId, Result, rfc3339};
use crate::platform::db::Conn;

/// Units of a line in a parcel.
#[derive(Debug, Object)]
pub struct ParcelLineView {
    pub line_id: OrderLineId,
    pub quantity: i64,
}

/// A parcel.
#[derive(Debug, Object)]
pub struct ParcelView {
    pub parcel_id: ParcelId,
    /// The carrier's id; absent: the store brings it itself.
    #[oai(skip_serializing_if_is_none)]
    pub carrier: Option<String>,
    pub carrier_name: String,
    #[oai(skip_serializing_if_is_none)]
    pub tracking_no: Option<String>,
    pub lines: Vec<ParcelLineView>,
    pub shipped_at: String,
}

/// What WeChat was told about the parcels of an order.
#[derive(Debug, Object)]
pub struct UploadView {
    pub state: UploadState,
    /// Tries since there was something new to say.
    pub tries: i64,
    /// Why the last try failed: what WeChat answered, or that the order can't be read.
    #[oai(skip_serializing_if_is_none)]
    pub error: Option<String>,
    #[oai(skip_serializing_if_is_none)]
    pub next_try_at: Option<String>,
    #[oai(skip_serializing_if_is_none)]
    pub accepted_at: Option<String>,
    /// Since when the one chance to correct a shipped order's parcels at WeChat is used.
    #[oai(skip_serializing_if_is_none)]
    pub corrected_at: Option<String>,
    /// Since when the money is the shop's.
    #[oai(skip_serializing_if_is_none)]
    pub settled_at: Option<String>,
}

/// The parcels of an order, oldest first.
///
/// # Errors
/// The database.
pub async fn parcel_views(conn: &mut Conn, order: &OrderId) -> Result<Vec<ParcelView>> {
    let parcels = sql::of_order(conn, order).await?;
    if parcels.is_empty() {
        return Ok(Vec::new());
    }
    let lines = sql::lines_of_order(conn, order).await?;
    let view = |parcel: super::Parcel| ParcelView {
        lines: lines
            .iter()
            .filter(|line| line.parcel_id == parcel.id)
            .map(|line| ParcelLineView { line_id: line.line_id.clone(), quantity: line.quantity })
            .collect(),
        carrier: Some(parcel.carrier).filter(|carrier| !carrier.is_empty()),
        tracking_no: Some(parcel.tracking_no).filter(|number| !number.is_empty()),
        carrier_name: parcel.carrier_name,
        shipped_at: rfc3339(parcel.shipped_ms),
        parcel_id: parcel.id,
    };
    Ok(parcels.into_iter().map(view).collect())
}

/// The upload of an order; none: nothing was shipped, or it was not paid through WeChat.
///
/// # Errors
/// The database.
pub async fn upload_view(conn: &mut Conn, order: &OrderId) -> Result<Option<UploadView>> {
    let upload = sql::upload_of(conn, order).await?;
    Ok(upload.map(of_upload))
}

pub(super) fn of_upload(upload: sql::Upload) -> UploadView {
    UploadView {
        state: upload.state,
        tries: upload.step,
        error: upload.error,
        next_try_at: upload.next_ms.map(rfc3339),
        accepted_at: upload.accepted_ms.map(rfc3339),
        corrected_at: upload.corrected_ms.map(rfc3339),
        settled_at: upload.settled_ms.map(rfc3339),
    }
}
