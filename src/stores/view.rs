//! A store as the app sees it, and the same as bytes: what never changes under one version, made once.

use std::fmt::Write;

use poem_openapi::Object;
use poem_openapi::types::ToJSON;
use serde_json::Value;

use super::{OpenHours, Store, StoreKind};
use crate::kernel::{Millis, Money, StoreId, rfc3339};

/// A store.
#[derive(Debug, PartialEq, Object)]
pub struct StoreView {
    pub id: StoreId,
    pub kind: StoreKind,
    pub name: String,
    pub phone: String,
    pub province: String,
    pub city: String,
    pub district: String,
    pub address: String,
    /// Degrees.
    pub lat: f64,
    pub lng: f64,
    /// The zone of its hours, by its IANA name.
    pub time_zone: String,
    pub hours: OpenHours,
    /// What delivery costs.
    pub freight: Money,
    /// Delivery is free from this goods total on, after discounts.
    #[oai(skip_serializing_if_is_none)]
    pub free_freight_from: Option<Money>,
    #[oai(skip_serializing_if_is_none)]
    pub image: Option<String>,
    /// Shown, but takes no orders now.
    pub paused: bool,
    /// When the pause ends by itself; absent: nobody knows yet.
    #[oai(skip_serializing_if_is_none)]
    pub paused_until: Option<String>,
    /// By its hours and exceptions, in its time zone. A paused store is not open.
    pub open_now: bool,
    /// Only while it is open; absent when it never closes.
    #[oai(skip_serializing_if_is_none)]
    pub closes_at: Option<String>,
    /// Only while it is closed; absent when no opening is known for 60 days.
    #[oai(skip_serializing_if_is_none)]
    pub opens_at: Option<String>,
    /// Metres from `lat`, `lng` of the request; physical stores only.
    #[oai(skip_serializing_if_is_none)]
    pub distance_m: Option<u32>,
}

impl StoreView {
    /// Without what depends on the moment and on the request.
    fn fixed(store: &Store) -> Self {
        let money = |minor| Money::new(minor, store.currency);
        Self {
            id: store.id.clone(),
            kind: store.kind,
            name: store.name.clone(),
            phone: store.phone.clone(),
            province: store.province.clone(),
            city: store.city.clone(),
            district: store.district.clone(),
            address: store.address.clone(),
            lat: store.lat,
            lng: store.lng,
            time_zone: store.time_zone.clone(),
            hours: store.hours.clone(),
            freight: money(store.freight_minor),
            free_freight_from: store.free_freight_from_minor.map(money),
            image: store.image.clone(),
            paused: false,
            paused_until: None,
            open_now: false,
            closes_at: None,
            opens_at: None,
            distance_m: None,
        }
    }
}

/// `{"id":…` without what depends on the minute and without the closing brace: [`moment`] and [`close`] go
/// behind it.
pub fn head(store: &Store) -> String {
    let mut json = StoreView::fixed(store).to_json().unwrap_or_default();
    if let Value::Object(members) = &mut json {
        for name in ["paused", "open_now"] {
            members.remove(name);
        }
    }
    let mut text = json.to_string();
    text.pop();
    text
}

/// What depends on the minute.
pub fn moment(store: &Store, at_ms: Millis) -> String {
    let (state, paused) = (store.state_at(at_ms), store.is_paused_at(at_ms));
    let open = state.open;
    let mut text = format!(r#","paused":{paused},"open_now":{open}"#);
    let until_ms = store.paused_until_ms.filter(|_| paused);
    let change = if open { "closes_at" } else { "opens_at" };
    for (name, at_ms) in [("paused_until", until_ms), (change, state.changes_ms)] {
        if let Some(at_ms) = at_ms {
            text.push_str(&format!(r#","{name}":"{}""#, rfc3339(at_ms)));
        }
    }
    text
}

/// What depends on the request, and the end.
pub fn close(out: &mut String, distance_m: Option<u32>) {
    if let Some(metres) = distance_m {
        // Writing into a String can't fail.
        let _ = write!(out, r#","distance_m":{metres}"#);
    }
    out.push('}');
}
