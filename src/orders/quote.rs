//! Quotes: what an order would cost, line by line, with every rule's share. Server-side prices only.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use super::quote_token::{self, QuotePayload};
use super::{
    ADDRESS_REQUIRED, CART_EMPTY, FULFILMENT_NOT_OFFERED, Fulfilment, QUANTITY_NOT_AVAILABLE, STORE_PAUSED,
};
use crate::addresses::{self, ADDRESS_NOT_FOUND, Address};
use crate::cart;
use crate::catalog::{self, Offer, SKU_NOT_SOLD, SOLD_OUT};
use crate::coupons;
use crate::kernel::{
    AddressId, CouponId, Currency, Failure, Millis, Result, SkuId, StoreId, UserId, minute_ms, rfc3339,
};
use crate::platform::crypto;
use crate::platform::ctx::Ctx;
use crate::platform::db::Conn;
use crate::pricing::{self, FreightTerms, LineIn, Priced};
use crate::stores::{self, STORE_NOT_FOUND, StoreKind};

/// How long a quote may be used.
const QUOTE_LIFE_MS: Millis = minute_ms(15);
/// Lines of one order.
const LINES_MAX: usize = 50;

/// A SKU and how many of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WantedLine {
    pub sku_id: SkuId,
    pub quantity: i64,
}

/// What a customer wants to order.
#[derive(Debug, Clone)]
pub struct QuoteRequest {
    pub store_id: StoreId,
    pub fulfilment: Fulfilment,
    /// `None`: what is in the cart of this store.
    pub lines: Option<Vec<WantedLine>>,
    pub address_id: Option<AddressId>,
    pub coupon_ids: Vec<CouponId>,
}

/// An answer that can be ordered.
#[derive(Debug, Clone)]
pub struct Quote {
    pub store_id: StoreId,
    pub fulfilment: Fulfilment,
    pub currency: Currency,
    pub priced: Priced,
    /// What the lines are, in the order of `priced.lines`.
    pub offers: Vec<Offer>,
    pub expires_ms: Millis,
    pub token: String,
}

/// What an order is made of: a quote with everything that was read for it.
pub(super) struct Worked {
    pub lines: Vec<WantedLine>,
    pub currency: Currency,
    pub priced: Priced,
    /// In the order of `priced.lines`.
    pub offers: Vec<Offer>,
    pub address: Option<Address>,
}

/// Prices what `user` wants.
///
/// # Errors
/// Whatever of it can't be ordered now, naming the line, the address or the coupon.
pub async fn quote(ctx: &Ctx, user: &UserId, request: &QuoteRequest) -> Result<Quote> {
    let conn = &mut *ctx.db.reader().await?;
    let worked = work_out(conn, ctx, user, request).await?;
    sign(ctx, user, request, worked)
}

pub(super) fn sign(ctx: &Ctx, user: &UserId, request: &QuoteRequest, worked: Worked) -> Result<Quote> {
    let expires_ms = ctx.clock.now_ms() + QUOTE_LIFE_MS;
    let payload = QuotePayload {
        user_id: user.clone(),
        store_id: request.store_id.clone(),
        fulfilment: request.fulfilment,
        address_id: request.address_id.clone(),
        address_hash: worked.address.as_ref().map(address_hash).transpose()?,
        lines: worked.lines,
        coupon_ids: request.coupon_ids.clone(),
        priced: worked.priced.clone(),
        expires_ms,
        nonce: crypto::hex(&crypto::random::<16>()),
    };
    Ok(Quote {
        store_id: request.store_id.clone(),
        fulfilment: request.fulfilment,
        currency: worked.currency,
        priced: worked.priced,
        offers: worked.offers,
        expires_ms,
        token: quote_token::seal(&ctx.secrets, &payload)?,
    })
}

pub(super) fn address_hash(address: &Address) -> Result<String> {
    let json = serde_json::to_vec(address).map_err(|e| Failure::internal("hashing an address", e))?;
    Ok(crypto::hex(&crypto::sha256(&json)))
}

/// Reads and prices. Runs in a transaction, too, when the order is placed.
pub(super) async fn work_out(
    conn: &mut Conn,
    ctx: &Ctx,
    user: &UserId,
    request: &QuoteRequest,
) -> Result<Worked> {
    let store = stores::find(conn, &request.store_id)
        .await?
        .ok_or_else(|| Failure::new(&STORE_NOT_FOUND).field("/store_id"))?;
    if store.is_paused_at(ctx.clock.now_ms()) {
        let paused = Failure::new(&STORE_PAUSED).field("/store_id");
        return Err(match store.paused_until_ms {
            Some(until_ms) => paused.with("paused_until", rfc3339(until_ms).into()),
            None => paused,
        });
    }
    let address = match request.fulfilment {
        Fulfilment::Delivery => delivery_address(conn, ctx, user, request).await?,
        _ if store.kind != StoreKind::Physical => {
            return Err(Failure::new(&FULFILMENT_NOT_OFFERED).field("/fulfilment"));
        }
        _ if request.address_id.is_some() => {
            return Err(Failure::invalid("/address_id", "nothing is sent: leave the address out"));
        }
        _ => None,
    };
    let lines = match &request.lines {
        Some(lines) => merged(lines),
        None => {
            let lines = cart::lines(conn, user, &request.store_id).await?;
            merged(
                &lines
                    .into_iter()
                    .map(|l| WantedLine { sku_id: l.sku_id, quantity: l.quantity })
                    .collect::<Vec<_>>(),
            )
        }
    };
    let places = request.lines.as_deref();
    if lines.is_empty() {
        return Err(Failure::new(&CART_EMPTY).field("/lines"));
    }
    if lines.len() > LINES_MAX {
        return Err(Failure::invalid(
            "/lines",
            format!("at most {LINES_MAX} different SKUs fit into one order"),
        ));
    }
    let offers = sold_offers(conn, request, &lines, places).await?;
    let terms = coupons::terms(conn, ctx, user, &request.store_id, &request.coupon_ids).await?;
    let priced_lines: Vec<LineIn> = lines
        .iter()
        .zip(&offers)
        .map(|(line, offer)| LineIn {
            sku_id: line.sku_id.clone(),
            unit_price_minor: offer.price_minor,
            quantity: line.quantity,
        })
        .collect();
    let freight = match request.fulfilment {
        Fulfilment::Delivery => FreightTerms {
            freight_minor: store.freight_minor,
            free_from_minor: store.free_freight_from_minor,
        },
        Fulfilment::Pickup | Fulfilment::InStore => FreightTerms::NONE,
    };
    let priced = pricing::price(&priced_lines, &terms, freight)?;
    Ok(Worked { lines, currency: store.currency, priced, offers, address })
}

async fn delivery_address(
    conn: &mut Conn,
    ctx: &Ctx,
    user: &UserId,
    request: &QuoteRequest,
) -> Result<Option<Address>> {
    let Some(id) = &request.address_id else {
        return Err(Failure::new(&ADDRESS_REQUIRED).field("/address_id"));
    };
    let address = addresses::find(conn, ctx, user, id).await?;
    address.map(Some).ok_or_else(|| Failure::new(&ADDRESS_NOT_FOUND).field("/address_id"))
}

/// One line for each SKU, in the order of their ids: the order in which stock is locked, and in which a
/// remainder of a discount falls.
fn merged(lines: &[WantedLine]) -> Vec<WantedLine> {
    let mut by_sku = BTreeMap::<&SkuId, i64>::new();
    for line in lines {
        *by_sku.entry(&line.sku_id).or_default() += line.quantity;
    }
    by_sku.into_iter().map(|(sku_id, quantity)| WantedLine { sku_id: sku_id.clone(), quantity }).collect()
}

/// The offers of these lines, in their order; each is on sale and there is enough of it. Goods in the
/// customer's hand are there, whatever the stock and the sold-out switch say.
async fn sold_offers(
    conn: &mut Conn,
    request: &QuoteRequest,
    lines: &[WantedLine],
    asked: Option<&[WantedLine]>,
) -> Result<Vec<Offer>> {
    // The line as the client sent it; a line of the cart has no place in the request.
    let at = |failure: Failure, sku: &SkuId, member: &str| {
        let place = asked.and_then(|lines| lines.iter().position(|line| line.sku_id == *sku));
        let failure = failure.with("sku_id", sku.as_str().into());
        match place {
            Some(index) => failure.field(format!("/lines/{index}{member}")),
            None => failure,
        }
    };
    let skus: Vec<SkuId> = lines.iter().map(|line| line.sku_id.clone()).collect();
    let offers = catalog::offers(conn, &request.store_id, &skus).await?;
    lines
        .iter()
        .map(|line| {
            let offer = offers.iter().find(|offer| offer.sku_id == line.sku_id && offer.on_sale);
            let Some(offer) = offer else {
                return Err(at(Failure::new(&SKU_NOT_SOLD), &line.sku_id, ""));
            };
            let in_hand = request.fulfilment == Fulfilment::InStore;
            if offer.sold_out && !in_hand {
                return Err(at(Failure::new(&SOLD_OUT), &line.sku_id, ""));
            }
            if offer.available < line.quantity && !in_hand {
                let failure = Failure::new(&QUANTITY_NOT_AVAILABLE).with("available", offer.available.into());
                return Err(at(failure, &line.sku_id, "/quantity"));
            }
            Ok(offer.clone())
        })
        .collect()
}
