//! The list of stores as bytes: pages in the order of opening, or nearest first.

use bytes::Bytes;

use super::directory::Directory;
use super::location::Point;
use super::{Location, StoreKind};
use crate::kernel::{Cursor, Failure, Limit, Millis, Page, Result, StoreId};

/// What a client asks the list for.
#[derive(Debug, Clone)]
pub struct StoreQuery {
    pub kind: Option<StoreKind>,
    /// Only those that are open at this moment.
    pub open_now: bool,
    pub order: Order,
    pub limit: Limit,
}

#[derive(Debug, Clone)]
pub enum Order {
    /// As they were opened, behind this one.
    Opened { after: Option<StoreId> },
    /// Nearest first; stores without a place to go to (the online store) come last.
    Nearest { from: Location, after: Option<(u32, StoreId)> },
}

/// Farther than anything on the Earth: the sort key of a store without a distance.
const NOWHERE_M: u32 = u32::MAX;

impl StoreQuery {
    /// A cursor carries the place from which its list was measured, so that somebody who walks on
    /// between two pages neither misses a store nor sees one twice.
    ///
    /// # Errors
    /// A cursor of another kind of list, or with a bad limit.
    pub fn parse(
        kind: Option<StoreKind>,
        open_now: bool,
        from: Option<Location>,
        limit: Option<u32>,
        cursor: Option<&Cursor>,
    ) -> Result<Self> {
        let wrong = || Failure::invalid("cursor", "not a cursor of this list");
        let order = match (from, cursor) {
            (None, None) => Order::Opened { after: None },
            (None, Some(cursor)) => Order::Opened { after: Some(cursor.key().parse().map_err(|_| wrong())?) },
            (Some(from), None) => Order::Nearest { from, after: None },
            (Some(_), Some(cursor)) => nearest_after(cursor.key()).ok_or_else(wrong)?,
        };
        Ok(Self { kind, open_now, order, limit: Limit::parse(limit)? })
    }

    /// The first page without a location: the list that everybody asks for, kept as bytes.
    pub fn first(kind: Option<StoreKind>, open_now: bool, limit: Limit) -> Self {
        Self { kind, open_now, order: Order::Opened { after: None }, limit }
    }

    /// The name of the list within its minute, if it is one that is kept.
    pub fn key(&self) -> Option<String> {
        let Order::Opened { after: None } = self.order else { return None };
        let kind = self.kind.map_or("all", StoreKind::as_str);
        let open = if self.open_now { "open" } else { "any" };
        Some(format!("{kind}:{open}:{}", self.limit.and_one() - 1))
    }

    /// The page as its final bytes.
    pub fn render(&self, directory: &Directory, now_ms: Millis) -> Bytes {
        let minute = directory.minute(now_ms);
        let stores = directory.stores();
        let wanted = |index: &usize| {
            self.kind.is_none_or(|kind| stores[*index].kind == kind)
                && (!self.open_now || minute.open[*index])
        };
        let wanted = (0..stores.len()).filter(wanted);
        let page = match &self.order {
            Order::Opened { after } => {
                let rows = wanted.filter(|index| after.as_ref().is_none_or(|id| stores[*index].id > *id));
                let rows = rows.take(self.limit.and_one() as usize).map(|index| (NOWHERE_M, index)).collect();
                Page::cut(rows, self.limit, |(_, index)| stores[*index].id.to_string())
            }
            Order::Nearest { from, after } => {
                let here = from.point();
                let metres_to = |there: Point| here.metres_to(there);
                let mut rows: Vec<(u32, usize)> = wanted
                    .map(|index| (directory.point(index).map_or(NOWHERE_M, metres_to), index))
                    .collect();
                if let Some((metres, id)) = after {
                    rows.retain(|(m, index)| (*m, &stores[*index].id) > (*metres, id));
                }
                // The index follows the id, so ties are in the order of ids. What is behind the page stays unsorted.
                let page = self.limit.and_one() as usize;
                if rows.len() > page {
                    rows.select_nth_unstable(page - 1);
                    rows.truncate(page);
                }
                rows.sort_unstable();
                Page::cut(rows, self.limit, |(metres, index)| {
                    format!("{}:{}:{metres}:{}", from.lat, from.lng, stores[*index].id)
                })
            }
        };
        let mut out = String::with_capacity(64 + page.items.len() * 1_024);
        out.push_str(r#"{"items":["#);
        for (place, (metres, index)) in page.items.iter().enumerate() {
            if place > 0 {
                out.push(',');
            }
            directory.write(&mut out, *index, &minute, Some(*metres).filter(|m| *m != NOWHERE_M));
        }
        out.push(']');
        if let Some(next) = &page.next {
            out.push_str(&format!(r#","next_cursor":"{next}""#));
        }
        out.push('}');
        out.into()
    }
}

/// `lat:lng:metres:id` of the last row.
fn nearest_after(key: &str) -> Option<Order> {
    let parts: Vec<&str> = key.split(':').collect();
    let [lat, lng, metres, id] = parts[..] else { return None };
    let from = Location::new(lat.parse().ok()?, lng.parse().ok()?, "").ok()?;
    Some(Order::Nearest { from, after: Some((metres.parse().ok()?, id.parse().ok()?)) })
}
