//! The carriers that WeChat knows: asked for once a day and kept in the kv tier; while WeChat can't be asked,
//! the usual ones are known all the same.

use poem_openapi::Object;
use serde::{Deserialize, Serialize};

use super::CARRIER_UNKNOWN;
use crate::kernel::{Failure, Millis, Result, day_ms, minute_ms};
use crate::platform::caches::{CacheState, Watched};
use crate::platform::ctx::Ctx;
use crate::platform::db::BoxFuture;
use crate::wechat::mini::Mini;

const KEY: &str = "shipping:carriers";
/// Set while WeChat was asked in vain: nobody waits for it again meanwhile.
const AWAY_KEY: &str = "shipping:carriers-away";
const NAME: &str = "carriers";
const KEPT_MS: Millis = day_ms(1);
const AWAY_MS: Millis = minute_ms(1);
const NAME_CHARS_MAX: usize = 128;

/// The carriers that bring nearly everything, as `get_delivery_list` has them.
const USUAL: &[(&str, &str)] = &[
    ("SF", "顺丰速运"),
    ("ZTO", "中通快递"),
    ("YTO", "圆通速递"),
    ("YD", "韵达速递"),
    ("STO", "申通快递"),
    ("JD", "京东物流"),
    ("JTSD", "极兔速递"),
    ("EMS", "邮政EMS"),
    ("YZPY", "邮政快递包裹"),
    ("DBL", "德邦快递"),
];

/// A carrier that WeChat knows.
#[derive(Debug, Clone, PartialEq, Eq, Object, Serialize, Deserialize)]
pub struct Carrier {
    /// What a parcel names: `SF`.
    pub id: String,
    /// For people: `顺丰速运`.
    pub name: String,
}

/// What is known of carriers now.
#[derive(Debug, Clone)]
pub struct Carriers {
    pub list: Vec<Carrier>,
    /// The list is WeChat's own: what is not in it does not exist.
    complete: bool,
}

impl Carriers {
    /// The carrier that `text` means: its id in any case, or its whole name. One that nobody can look up now is
    /// taken as it stands.
    ///
    /// # Errors
    /// `carrier_unknown`.
    pub fn find(&self, text: &str) -> Result<Carrier> {
        let meant = |carrier: &&Carrier| carrier.id.eq_ignore_ascii_case(text) || carrier.name == text;
        match self.list.iter().find(meant) {
            Some(carrier) => Ok(carrier.clone()),
            None if !self.complete && is_id(text) => {
                tracing::warn!("carrier {text} is taken unseen: WeChat does not answer with its list");
                Ok(Carrier { id: text.to_owned(), name: text.to_owned() })
            }
            None => Err(Failure::new(&CARRIER_UNKNOWN).field("/carrier")),
        }
    }
}

fn is_id(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

/// The list of carriers, at most a day old; the usual ones when it is not kept and WeChat does not answer.
pub async fn carriers(ctx: &Ctx, mini: &Mini) -> Carriers {
    if let Ok(Some(bytes)) = ctx.kv.get(KEY).await
        && let Ok(list) = serde_json::from_slice(&bytes)
    {
        return Carriers { list, complete: true };
    }
    if let Ok(Some(_)) = ctx.kv.get(AWAY_KEY).await {
        return usual();
    }
    ctx.metrics.cache_read(NAME, "database", 0);
    let answer = mini.delivery_companies().await;
    ctx.metrics.outbound("delivery_companies", if answer.is_ok() { "ok" } else { "failed" });
    match answer {
        Ok(companies) if !companies.is_empty() => {
            let list = companies.into_iter().map(|company| Carrier {
                id: company.id,
                name: company.name.chars().take(NAME_CHARS_MAX).collect(),
            });
            let list: Vec<Carrier> = list.collect();
            keep(ctx, KEY, &serde_json::to_vec(&list).unwrap_or_default(), KEPT_MS).await;
            Carriers { list, complete: true }
        }
        answer => {
            let why = answer.map_or_else(|error| error.to_string(), |_| "an empty list".to_owned());
            tracing::warn!("WeChat does not tell its carriers: {why}");
            keep(ctx, AWAY_KEY, b"away", AWAY_MS).await;
            usual()
        }
    }
}

async fn keep(ctx: &Ctx, key: &str, bytes: &[u8], ttl_ms: Millis) {
    if ctx.kv.put(key, bytes, ttl_ms).await.is_err() {
        tracing::debug!("the carriers are not kept: the kv tier is gone");
    }
}

fn usual() -> Carriers {
    let carrier = |(id, name): &(&str, &str)| Carrier { id: (*id).to_owned(), name: (*name).to_owned() };
    Carriers { list: USUAL.iter().map(carrier).collect(), complete: false }
}

/// The list in the kv tier, for people who look at caches: dropped, it is asked for again.
pub struct CarriersCache;

impl Watched for CarriersCache {
    fn state(&self) -> CacheState {
        CacheState::of(NAME, std::iter::empty())
    }

    fn has_keys(&self) -> bool {
        false
    }

    fn forget<'x>(&'x self, ctx: &'x Ctx, _: Option<&'x str>, _: Millis) -> BoxFuture<'x, ()> {
        Box::pin(async move {
            for key in [KEY, AWAY_KEY] {
                let _ = ctx.kv.delete(key).await;
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_carrier_is_found_by_its_id_in_any_case_or_by_its_name() {
        let known = Carriers { complete: true, ..usual() };
        for text in ["SF", "sf", "顺丰速运"] {
            assert_eq!(known.find(text).unwrap().id, "SF");
        }
        assert!(known.find("顺丰").unwrap_err().is(&CARRIER_UNKNOWN));
        assert!(known.find("NOBODY").is_err());
    }

    #[test]
    fn an_unknown_id_is_taken_only_while_the_list_is_not_wechats_own() {
        assert_eq!(usual().find("ANE").unwrap().name, "ANE");
        assert!(usual().find("安能").is_err());
    }
}
