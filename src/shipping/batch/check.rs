//! What a row of a file means, and whether it can be shipped: looked at in the order of the file, each row behind
//! what the rows before it would ship.

use std::collections::HashMap;

use super::file::Row;
use super::{RowCode, RowState};
use crate::kernel::{OrderId, OrderLineId, Result, SkuId};
use crate::orders::{self, Order, OrderLine};
use crate::payments;
use crate::platform::ctx::Ctx;
use crate::platform::db::Conn;
use crate::shipping::carriers::Carriers;
use crate::shipping::{Carrier, OWN_COURIER, Parcel, Tracking, sql};
use crate::staff::StoreScope;

const QUANTITY_MAX: i64 = 999;

/// Why a row is wrong.
pub struct Wrong {
    pub code: RowCode,
    pub detail: String,
}

fn wrong<T>(code: RowCode, detail: impl Into<String>) -> Result<T, Wrong> {
    Err(Wrong { code, detail: detail.into() })
}

/// A row and what it means.
#[derive(Debug)]
pub struct Checked {
    pub row: Row,
    /// The first row of its parcel.
    pub parcel_line: i64,
    pub order_id: Option<OrderId>,
    /// `None`: the store's own courier.
    pub carrier: Option<Carrier>,
    /// `None`: all that is left of the order.
    pub line_id: Option<OrderLineId>,
    /// `None`: all that is left of the line, or of the order.
    pub quantity: Option<i64>,
    pub state: RowState,
    pub code: Option<RowCode>,
    pub detail: Option<String>,
}

/// An order that the file names, with what the rows so far leave of it.
struct Standing {
    order: Order,
    lines: Vec<OrderLine>,
    /// Units that the rows so far ship.
    taken: HashMap<OrderLineId, i64>,
    parcels: Vec<Parcel>,
    /// Parcels that the rows so far make.
    new: Vec<NewParcel>,
}

struct NewParcel {
    carrier: Option<Carrier>,
    tracking_no: String,
    first_line: i64,
    /// The lines of which it has units; empty: everything that was left.
    items: Vec<OrderLineId>,
}

impl Standing {
    fn left(&self, line: &OrderLine) -> i64 {
        line.shippable() - self.taken.get(&line.id).copied().unwrap_or_default()
    }

    fn take(&mut self, line: OrderLineId, quantity: i64) {
        *self.taken.entry(line).or_default() += quantity;
    }
}

/// What the file names, as far as it was looked up.
#[derive(Default)]
struct Known {
    /// What an order is called in the file, and which one it is.
    names: HashMap<String, Option<OrderId>>,
    standings: HashMap<OrderId, Standing>,
}

/// Who looks, and what is known.
pub struct Check<'a> {
    pub ctx: &'a Ctx,
    pub carriers: &'a Carriers,
    /// Orders of other stores are not found.
    pub scope: &'a StoreScope,
}

impl Check<'_> {
    /// Looks at all rows.
    ///
    /// # Errors
    /// The database.
    pub async fn rows(&self, conn: &mut Conn, rows: Vec<Row>) -> Result<Vec<Checked>> {
        let mut known = Known::default();
        let mut checked = Vec::with_capacity(rows.len());
        for row in rows {
            self.look_up(conn, &mut known, &row.order).await?;
            let id = known.names.get(&row.order).cloned().flatten();
            let standing = id.as_ref().and_then(|id| known.standings.get_mut(id));
            checked.push(self.row(row, standing));
        }
        Ok(checked)
    }

    /// Finds the order that the file calls `name`: its id, or the number of its payment.
    async fn look_up(&self, conn: &mut Conn, known: &mut Known, name: &str) -> Result<()> {
        if known.names.contains_key(name) {
            return Ok(());
        }
        let id = match name.parse() {
            Ok(id) => Some(id),
            Err(_) => {
                let mchid = &self.ctx.config.wechat_pay.mchid;
                payments::by_number(conn, mchid, name).await?.map(|attempt| attempt.order_id)
            }
        };
        let found = match &id {
            Some(id) if known.standings.contains_key(id) => true,
            Some(id) => match orders::find(conn, id).await? {
                Some(order) if self.scope.has(&order.store_id) => {
                    let lines = orders::find_lines(conn, id).await?;
                    let parcels = sql::of_order(conn, id).await?;
                    let standing = Standing { order, lines, taken: HashMap::new(), parcels, new: Vec::new() };
                    known.standings.insert(id.clone(), standing);
                    true
                }
                _ => false,
            },
            None => false,
        };
        known.names.insert(name.to_owned(), id.filter(|_| found));
        Ok(())
    }

    fn row(&self, row: Row, standing: Option<&mut Standing>) -> Checked {
        let mut checked = Checked {
            parcel_line: row.line,
            order_id: None,
            carrier: None,
            line_id: None,
            quantity: None,
            state: RowState::Ready,
            code: None,
            detail: None,
            row,
        };
        if let Err(Wrong { code, detail }) = self.mean(&mut checked, standing) {
            checked.state = RowState::Wrong;
            checked.code = Some(code);
            checked.detail = Some(detail);
        }
        checked
    }

    /// Works out what a row means; what it would ship is taken from its order.
    fn mean(&self, checked: &mut Checked, standing: Option<&mut Standing>) -> Result<(), Wrong> {
        if let Some(why) = &checked.row.malformed {
            return wrong(RowCode::RowMalformed, why);
        }
        if checked.row.order.is_empty() {
            return wrong(RowCode::OrderRequired, "Which order?");
        }
        let Some(standing) = standing else {
            return wrong(RowCode::OrderNotFound, "There is no order with this id or payment number.");
        };
        checked.order_id = Some(standing.order.id.clone());
        checked.carrier = self.carrier(&checked.row)?;
        if let Some(why) = orders::refusal_to_ship(&standing.order) {
            return wrong(RowCode::OrderNotShippable, why);
        }
        let units = units(standing, &checked.row)?;
        checked.parcel_line = parcel(standing, checked, &units)?;
        checked.line_id = units.item.clone();
        checked.quantity = units.quantity;
        for (line, quantity) in units.taken {
            standing.take(line, quantity);
        }
        Ok(())
    }

    /// Who brings it; `None`: the store itself.
    fn carrier(&self, row: &Row) -> Result<Option<Carrier>, Wrong> {
        if row.carrier.is_empty() {
            return wrong(
                RowCode::CarrierRequired,
                format!("Which carrier? {OWN_COURIER}: the store's own."),
            );
        }
        if row.carrier == OWN_COURIER && row.tracking_no.is_empty() {
            return Ok(None);
        }
        let Ok(carrier) = self.carriers.find(&row.carrier) else {
            return wrong(RowCode::CarrierUnknown, "WeChat knows no carrier with this id or name.");
        };
        if row.tracking_no.is_empty() {
            return wrong(RowCode::TrackingNoRequired, "What is its number there?");
        }
        if Tracking::parse(Some(&carrier.id), Some(&row.tracking_no)).is_err() {
            let detail = "It must have 1 to 128 letters, digits, hyphens or underscores. Has the spreadsheet made \
                          a number of it, like 7.3E+13?";
            return wrong(RowCode::TrackingNoInvalid, detail);
        }
        Ok(Some(carrier))
    }
}

/// What a row ships.
struct Units {
    /// `None`: all that is left of the order.
    item: Option<OrderLineId>,
    /// `None`: all that is left of it.
    quantity: Option<i64>,
    taken: Vec<(OrderLineId, i64)>,
}

fn units(standing: &Standing, row: &Row) -> Result<Units, Wrong> {
    if row.item.is_empty() {
        if !row.quantity.is_empty() {
            return wrong(RowCode::ItemRequired, "A quantity needs an item: the id of a line or of a SKU.");
        }
        let left = standing.lines.iter().map(|line| (line.id.clone(), standing.left(line)));
        let taken: Vec<_> = left.filter(|(_, left)| *left > 0).collect();
        if taken.is_empty() {
            return wrong(RowCode::NothingLeft, "Nothing is left to ship of this order.");
        }
        return Ok(Units { item: None, quantity: None, taken });
    }
    let named = standing.lines.iter().find(|line| match row.item.parse::<SkuId>() {
        Ok(sku) => line.sku_id == sku,
        Err(_) => line.id.as_str() == row.item,
    });
    let Some(line) = named else {
        return wrong(RowCode::ItemNotFound, "This order has no line with this id or SKU.");
    };
    let left = standing.left(line);
    let quantity = match row.quantity.as_str() {
        "" => None,
        text => match text.parse() {
            Ok(quantity @ 1..=QUANTITY_MAX) => Some(quantity),
            _ => return wrong(RowCode::QuantityInvalid, format!("It must be from 1 to {QUANTITY_MAX}.")),
        },
    };
    match quantity {
        None if left < 1 => wrong(RowCode::NothingLeft, "Nothing is left to ship of this line."),
        Some(quantity) if quantity > left => {
            wrong(RowCode::QuantityNotShippable, format!("{left} are left to ship of this line."))
        }
        _ => {
            let taken = vec![(line.id.clone(), quantity.unwrap_or(left))];
            Ok(Units { item: Some(line.id.clone()), quantity, taken })
        }
    }
}

/// The first row of the parcel that a row belongs to: rows of one order with one number make one parcel.
fn parcel(standing: &mut Standing, checked: &Checked, units: &Units) -> Result<i64, Wrong> {
    let id =
        |carrier: &Option<Carrier>| carrier.as_ref().map(|carrier| carrier.id.clone()).unwrap_or_default();
    let carrier = id(&checked.carrier);
    let there =
        |p: &Parcel| p.is_express() && p.carrier == carrier && p.tracking_no == checked.row.tracking_no;
    if standing.parcels.iter().any(there) {
        return wrong(RowCode::ParcelExists, "The order has a parcel with this carrier and number.");
    }
    let same = standing
        .new
        .iter_mut()
        .find(|new| id(&new.carrier) == carrier && new.tracking_no == checked.row.tracking_no);
    let Some(same) = same else {
        standing.new.push(NewParcel {
            carrier: checked.carrier.clone(),
            tracking_no: checked.row.tracking_no.clone(),
            first_line: checked.row.line,
            items: units.item.iter().cloned().collect(),
        });
        return Ok(checked.row.line);
    };
    match &units.item {
        Some(item) if !same.items.is_empty() && !same.items.contains(item) => {
            same.items.push(item.clone());
            Ok(same.first_line)
        }
        _ => {
            let detail = format!("Line {} ships the same with this number.", same.first_line);
            wrong(RowCode::RowRepeated, detail)
        }
    }
}
