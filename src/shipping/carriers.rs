//! The carriers that WeChat knows: asked for once a day, kept in the kv tier.

use poem_openapi::Object;
use serde::{Deserialize, Serialize};

use super::CARRIERS_UNAVAILABLE;
use crate::kernel::{Failure, Millis, Result, day_ms};
use crate::platform::caches::{CacheState, Watched};
use crate::platform::ctx::Ctx;
use crate::platform::db::BoxFuture;
use crate::wechat::mini::Mini;

const KEY: &str = "shipping:carriers";
const NAME: &str = "carriers";
const KEPT_MS: Millis = day_ms(1);

/// A carrier that WeChat knows.
#[derive(Debug, Clone, PartialEq, Eq, Object, Serialize, Deserialize)]
pub struct Carrier {
    /// What a parcel names: `SF`.
    pub id: String,
    /// For people: `顺丰速运`.
    pub name: String,
}

/// The list of carriers, at most a day old.
///
/// # Errors
/// `carriers_unavailable` when it is not kept and WeChat does not answer.
pub async fn carriers(ctx: &Ctx, mini: &Mini) -> Result<Vec<Carrier>> {
    if let Ok(Some(bytes)) = ctx.kv.get(KEY).await
        && let Ok(kept) = serde_json::from_slice(&bytes)
    {
        ctx.metrics.cache_read(NAME, "kv", 0);
        return Ok(kept);
    }
    ctx.metrics.cache_read(NAME, "database", 0);
    let answer = mini.delivery_companies().await;
    ctx.metrics.outbound("delivery_companies", if answer.is_ok() { "ok" } else { "failed" });
    let answer = answer.map_err(|error| Failure::new(&CARRIERS_UNAVAILABLE).retry_after_s(5).cause(error))?;
    let list: Vec<Carrier> =
        answer.into_iter().map(|company| Carrier { id: company.id, name: company.name }).collect();
    let bytes = serde_json::to_vec(&list).map_err(|e| Failure::internal("keeping the carriers", e))?;
    if ctx.kv.put(KEY, &bytes, KEPT_MS).await.is_err() {
        tracing::debug!("the carriers are not kept: the kv tier is gone");
    }
    Ok(list)
}

/// The list in the kv tier, for people who look at caches: dropped, it is asked for again.
pub struct CarriersCache;

impl Watched for CarriersCache {
    fn state(&self) -> CacheState {
        CacheState::of(NAME, std::iter::empty())
    }

    fn forget<'x>(&'x self, ctx: &'x Ctx, _: Option<&'x str>, _: Millis) -> BoxFuture<'x, ()> {
        Box::pin(async move {
            let _ = ctx.kv.delete(KEY).await;
        })
    }
}
