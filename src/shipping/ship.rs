//! Shipping a parcel: the order's units, the parcel, the audit row and the upload that is due, all in one
//! transaction.

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Carrier, OWN_COURIER, PARCEL_EXISTS, Parcel, carriers, sql, upload};
use crate::kernel::{Actor, Failure, OrderId, OrderLineId, ParcelId, Result};
use crate::orders::{self, ShipLine};
use crate::platform::audit;
use crate::platform::ctx::Ctx;
use crate::platform::db::Tx;
use crate::platform::idempotency::{Done, Key};
use crate::wechat::mini::Mini;

/// WeChat takes numbers of at most this many characters.
const TRACKING_CHARS_MAX: usize = 128;

/// Who brings a parcel, and its number there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tracking {
    /// An id of [`super::carriers`].
    pub carrier: String,
    pub tracking_no: String,
}

impl Tracking {
    /// Both or neither; neither is the store's own courier.
    ///
    /// # Errors
    /// One without the other, or one that WeChat would refuse: 1 to 128 letters, digits and hyphens.
    pub fn parse(carrier: Option<&str>, tracking_no: Option<&str>) -> Result<Option<Self>> {
        let fits = |text: &str| {
            (1..=TRACKING_CHARS_MAX).contains(&text.len())
                && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        };
        match (carrier.map(str::trim), tracking_no.map(str::trim)) {
            (None, None) => Ok(None),
            (Some(_), None) => {
                Err(Failure::invalid("/tracking_no", "is required when a carrier brings the parcel"))
            }
            (None, Some(_)) => Err(Failure::invalid("/carrier", "is required with a tracking number")),
            (Some(carrier), _) if !fits(carrier) => Err(Failure::invalid(
                "/carrier",
                "must have 1 to 128 letters, digits, hyphens or underscores",
            )),
            (_, Some(number)) if !fits(number) => Err(Failure::invalid(
                "/tracking_no",
                "must have 1 to 128 letters, digits, hyphens or underscores",
            )),
            (Some(carrier), Some(number)) => {
                Ok(Some(Self { carrier: carrier.to_owned(), tracking_no: number.to_owned() }))
            }
        }
    }
}

/// A parcel that is to be sent.
#[derive(Debug, Clone)]
pub struct NewParcel {
    /// `None`: the store's own courier.
    pub tracking: Option<Tracking>,
    /// `None`: all that is left to ship.
    pub lines: Option<Vec<ShipLine>>,
}

/// Which parcel it became.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Shipped {
    pub parcel_id: ParcelId,
}

/// Ships units of an order in one parcel.
///
/// # Errors
/// `carrier_unknown`, `parcel_exists`, `order_not_found`, `order_not_shippable`, `quantity_not_shippable`;
/// `invalid_request` when a line is named twice.
pub async fn ship(
    ctx: &Ctx,
    mini: &Mini,
    actor: &Actor,
    key: &Key,
    order: &OrderId,
    parcel: &NewParcel,
) -> Result<Done<Shipped>> {
    if let Some(index) = parcel.lines.as_deref().and_then(named_twice) {
        return Err(Failure::invalid(format!("/lines/{index}/line_id"), "is named twice"));
    }
    let carrier = match &parcel.tracking {
        Some(tracking) => Some(carriers(ctx, mini).await.find(&tracking.carrier)?),
        None => None,
    };
    let carrier = carrier.as_ref();
    key.run(ctx, |tx| Box::pin(ship_in(tx, ctx, actor, order, parcel, carrier))).await
}

fn named_twice(lines: &[ShipLine]) -> Option<usize> {
    let named_before = |(index, line): (usize, &ShipLine)| {
        let line_id: &OrderLineId = &line.line_id;
        lines[..index].iter().any(|before| before.line_id == *line_id).then_some(index)
    };
    lines.iter().enumerate().find_map(named_before)
}

/// Ships a parcel in somebody's transaction; `carrier` is whom its tracking names.
///
/// # Errors
/// As [`ship`], but for the carrier.
pub(super) async fn ship_in(
    tx: &mut Tx<'_>,
    ctx: &Ctx,
    actor: &Actor,
    id: &OrderId,
    parcel: &NewParcel,
    carrier: Option<&Carrier>,
) -> Result<Shipped> {
    let tracking_no = parcel.tracking.as_ref().map(|tracking| tracking.tracking_no.clone());
    let row = Parcel {
        id: ctx.new_id(),
        order_id: id.clone(),
        carrier: carrier.map(|carrier| carrier.id.clone()).unwrap_or_default(),
        carrier_name: carrier.map_or(OWN_COURIER, |carrier| &carrier.name).to_owned(),
        tracking_no: tracking_no.unwrap_or_default(),
        shipped_ms: ctx.clock.now_ms(),
    };
    let (order, lines) = orders::ship_lines(tx, ctx, actor, id, &row.id, parcel.lines.as_deref()).await?;
    // The order is held: nobody adds the same parcel meanwhile.
    let there = sql::of_order(tx, id).await?;
    let same = |other: &Parcel| other.carrier == row.carrier && other.tracking_no == row.tracking_no;
    if row.is_express() && there.iter().any(same) {
        return Err(Failure::new(&PARCEL_EXISTS).field("/tracking_no"));
    }
    sql::insert(tx, &row).await?;
    for line in &lines {
        sql::insert_line(tx, &row.id, &line.line_id, line.quantity).await?;
    }
    upload::stage(tx, ctx, &order).await?;
    let units: i64 = lines.iter().map(|line| line.quantity).sum();
    let entry = audit::Entry {
        actor,
        operation: "shipOrder",
        object: id.as_str(),
        before: None::<()>,
        after: Some(json!({
            "status": order.status, "parcel": row.id, "carrier": row.carrier,
            "tracking_no": row.tracking_no, "units": units,
        })),
    };
    audit::record(tx, ctx, entry).await?;
    Ok(Shipped { parcel_id: row.id })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_carrier_and_its_number_come_together() {
        assert_eq!(Tracking::parse(None, None).unwrap(), None);
        let tracking = Tracking::parse(Some("SF"), Some(" SF1234567890 ")).unwrap().unwrap();
        assert_eq!((tracking.carrier.as_str(), tracking.tracking_no.as_str()), ("SF", "SF1234567890"));
        for (carrier, number) in [(Some("SF"), None), (None, Some("1")), (Some(""), Some("1"))] {
            assert!(Tracking::parse(carrier, number).is_err());
        }
        assert!(Tracking::parse(Some("SF"), Some("SF 1")).is_err());
        assert!(Tracking::parse(Some("SF"), Some(&"1".repeat(129))).is_err());
    }
}
