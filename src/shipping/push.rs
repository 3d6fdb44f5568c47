//! Message push: what WeChat tells about the shop's orders. The callback verifies and stores, the inbox
//! worker settles; the signature is the authority.

use poem::http::{StatusCode, header};
use poem::{Request, RequestBody, Response};
use serde::Deserialize;
use serde_json::Value;

use super::{PUSH_REFUSED, REMINDED, settlement};
use crate::kernel::{Actor, Failure, Result};
use crate::payments::{self, Attempt};
use crate::platform::ctx::Ctx;
use crate::platform::db::Conn;
use crate::platform::inbox::{self, Notice, Settled};
use crate::platform::web::raw_body;
use crate::platform::{alerts, crypto};
use crate::wechat::push::{Push, PushQuery};

/// Inbox kind of a push.
pub const PUSH_NEWS: &str = "wechat_push";

const ACTOR: Actor = Actor::System("wechat_push");

/// The check of the URL when it is entered in WeChat's console: the answer is its `echostr`, verbatim.
pub fn verify_push(push: &Push, request: &Request) -> Response {
    #[derive(Deserialize)]
    struct Echo {
        #[serde(default)]
        echostr: String,
    }
    let verified = request.params::<PushQuery>().ok().filter(|query| push.verify_url(query).is_ok());
    match (verified, request.params::<Echo>()) {
        (Some(_), Ok(echo)) => plain(StatusCode::OK, echo.echostr),
        _ => plain(StatusCode::UNAUTHORIZED, PUSH_REFUSED.code.to_owned()),
    }
}

/// Takes a push. `success` means that it is stored; anything else makes WeChat send it again.
pub async fn receive_push(ctx: &Ctx, push: &Push, request: &Request, body: &mut RequestBody) -> Response {
    match store(ctx, push, request, body).await {
        Ok(()) => {
            ctx.metrics.outbound("callback", PUSH_NEWS);
            plain(StatusCode::OK, "success".to_owned())
        }
        Err(failure) => {
            tracing::warn!("a push was refused: {failure}");
            let code = failure.code();
            ctx.metrics.outbound("callback", code.code);
            let status = StatusCode::from_u16(code.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            plain(status, code.code.to_owned())
        }
    }
}

fn plain(status: StatusCode, text: String) -> Response {
    Response::builder().status(status).header(header::CONTENT_TYPE, "text/plain; charset=utf-8").body(text)
}

async fn store(ctx: &Ctx, push: &Push, request: &Request, body: &mut RequestBody) -> Result<()> {
    let refuse = |why: String| Failure::new(&PUSH_REFUSED).cause(why);
    let query: PushQuery = request.params().map_err(|error| refuse(error.to_string()))?;
    let body = raw_body(ctx, body).await?;
    let message = push.receive(&query, &body).map_err(|error| refuse(error.to_string()))?;
    // A push has no number: the same bytes are the same push, sent again.
    let number = crypto::hex(&crypto::sha256(&message));
    let (number, message) = (&number, &String::from_utf8_lossy(&message).into_owned());
    ctx.db
        .write(|tx| {
            Box::pin(async move {
                inbox::store(tx, ctx, "wechat-push", number, PUSH_NEWS, message).await?;
                Ok(())
            })
        })
        .await
}

/// What is read of a push; of another kind of message there is only the name, or not even that.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct News {
    #[serde(rename = "Event")]
    event: String,
    transaction_id: String,
    merchant_id: String,
    merchant_trade_no: String,
    /// Present once the money is settled; the same event comes without it when the order is shipped.
    settlement_time: Option<Value>,
    confirm_receive_time: Option<Value>,
    msg: String,
}

impl News {
    fn has_settled(&self) -> bool {
        let given = |time: &Option<Value>| time.as_ref().is_some_and(|time| !time.is_null() && time != 0);
        given(&self.settlement_time) || given(&self.confirm_receive_time)
    }
}

/// Inbox handler of pushes: a settlement completes its order, a reminder becomes an alert, anything else is
/// acknowledged.
///
/// # Errors
/// The database; the push is tried again.
pub async fn settle_notice(ctx: &Ctx, notice: &Notice) -> Result<Settled> {
    let news: News = match serde_json::from_str(&notice.body(ctx)?) {
        Ok(news) => news,
        Err(error) => {
            return Ok(Settled::Park(format!("not JSON, which the console must be set to: {error}")));
        }
    };
    let news = &news;
    match news.event.as_str() {
        "trade_manage_order_settlement" if news.has_settled() => {
            let attempt = attempt(&mut *ctx.db.reader().await?, news).await?;
            let Some(attempt) = attempt else {
                return Ok(Settled::Park(format!("nobody here knows payment {}", news.merchant_trade_no)));
            };
            complete(ctx, notice, &attempt).await?;
        }
        "trade_manage_remind_shipping" => {
            let attempt = attempt(&mut *ctx.db.reader().await?, news).await?;
            let object = attempt.map_or(news.transaction_id.clone(), |attempt| attempt.order_id.to_string());
            alert(ctx, notice, REMINDED, &object, &news.msg).await?;
        }
        "trade_manage_remind_access_api" => {
            let appid = &ctx.config.wechat.appid;
            alert(ctx, notice, "shipping_not_set_up", appid, "WeChat asks to upload shipping information")
                .await?;
        }
        _ => acknowledge(ctx, notice).await?,
    }
    Ok(Settled::Done)
}

async fn attempt(conn: &mut Conn, news: &News) -> Result<Option<Attempt>> {
    if !news.transaction_id.is_empty()
        && let Some(attempt) = payments::by_transaction(conn, &news.transaction_id).await?
    {
        return Ok(Some(attempt));
    }
    payments::by_number(conn, &news.merchant_id, &news.merchant_trade_no).await
}

async fn complete(ctx: &Ctx, notice: &Notice, attempt: &Attempt) -> Result<()> {
    ctx.db
        .write(|tx| {
            Box::pin(async move {
                if !notice.settle(tx, ctx.clock.now_ms()).await? {
                    return Ok(());
                }
                settlement::settled(tx, ctx, &attempt.order_id, &ACTOR).await
            })
        })
        .await
}

async fn alert(ctx: &Ctx, notice: &Notice, kind: &'static str, object: &str, detail: &str) -> Result<()> {
    ctx.db
        .write(|tx| {
            Box::pin(async move {
                if notice.settle(tx, ctx.clock.now_ms()).await? {
                    alerts::open(tx, ctx, kind, object, detail).await?;
                }
                Ok(())
            })
        })
        .await
}

async fn acknowledge(ctx: &Ctx, notice: &Notice) -> Result<()> {
    ctx.db
        .write(|tx| {
            Box::pin(async move {
                notice.settle(tx, ctx.clock.now_ms()).await?;
                Ok(())
            })
        })
        .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_push_with_a_time_of_settlement_has_settled() {
        let news = |text: &str| serde_json::from_str::<News>(text).unwrap();
        assert!(!news(r#"{"Event":"x","estimated_settlement_time":1}"#).has_settled());
        assert!(!news(r#"{"Event":"x","settlement_time":null}"#).has_settled());
        assert!(news(r#"{"Event":"x","settlement_time":1700000000}"#).has_settled());
        assert!(news(r#"{"Event":"x","confirm_receive_time":1700000000}"#).has_settled());
    }
}
