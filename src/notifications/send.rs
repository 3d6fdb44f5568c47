//! Sending messages through WeChat: the one step that all kinds share. A message is claimed and its credit
//! spent in one transaction, sent outside of any, and what WeChat answered is written in another; a crash
//! between them sends it again, since nobody knows whether it arrived.

use std::collections::BTreeMap;

use futures_util::future::join_all;

use super::sql::{self, Message};
use super::{MessageState, NoticeKind};
use crate::identity;
use crate::kernel::{Failure, Millis, Result, UserId, minute_ms};
use crate::orders::{self, OrderStatus};
use crate::platform::alerts;
use crate::platform::ctx::Ctx;
use crate::platform::db::Tx;
use crate::wechat::mini::{Mini, MiniError, SubscribeMessage};

const BATCH: i64 = 64;
/// How long a claimed message is left to the one who claimed it.
const LEASE_MS: Millis = 30_000;
/// Pauses between tries: doubled from the first to the longest.
const FIRST_PAUSE_MS: Millis = 2_000;
const LONGEST_PAUSE_MS: Millis = minute_ms(5);
/// About half an hour; later than that a message is no news.
const TRIES_MAX: i64 = 12;
const ERROR_CHARS_MAX: usize = 300;
/// The alert of messages that WeChat does not take; its object is their kind.
const NOT_SENT: &str = "message_given_up";

/// Sends what is due. Answers how many messages it took; one that fails keeps no other from its end.
///
/// # Errors
/// The database.
pub async fn tick(ctx: &Ctx, mini: &Mini) -> Result<usize> {
    let due = sql::due(&mut *ctx.db.reader().await?, ctx.clock.now_ms(), BATCH).await?;
    // WeChat refuses two sends to one person at the same moment.
    let mut people: BTreeMap<&UserId, Vec<&Message>> = BTreeMap::new();
    for message in &due {
        people.entry(&message.user_id).or_default().push(message);
    }
    let sent = join_all(people.into_values().map(|messages| send_one_by_one(ctx, mini, messages))).await;
    Ok(sent.into_iter().sum())
}

/// When the next message is due.
///
/// # Errors
/// The database.
pub async fn next_due(ctx: &Ctx) -> Result<Option<Millis>> {
    sql::next_due(&mut *ctx.db.reader().await?).await
}

async fn send_one_by_one(ctx: &Ctx, mini: &Mini, messages: Vec<&Message>) -> usize {
    let mut worked = 0;
    for message in messages {
        match work_on(ctx, mini, message).await {
            Ok(took) => worked += usize::from(took),
            // The person's other messages don't wait for it; its lease ends by itself.
            Err(failure) => tracing::error!(
                notice.id = %message.notice_id,
                "message {} could not be worked on: {failure}", message.notice_id
            ),
        }
    }
    worked
}

/// What a claim came to.
enum Claim {
    /// Somebody else has it.
    Lost,
    /// It ended without a word to WeChat.
    Ended,
    Send,
}

async fn work_on(ctx: &Ctx, mini: &Mini, message: &Message) -> Result<bool> {
    match ctx.db.write(|tx| Box::pin(claim(tx, ctx, message))).await? {
        Claim::Lost => return Ok(false),
        Claim::Ended => return Ok(true),
        Claim::Send => {}
    }
    let openid = identity::openid(&mut *ctx.db.reader().await?, &message.user_id, mini.appid()).await?;
    let Some(openid) = openid else {
        let end = End { state: MessageState::NoCredit, errcode: None, error: Some("no openid") };
        ctx.db.write(|tx| Box::pin(finish(tx, ctx, message, end, true))).await?;
        return Ok(true);
    };
    let answer = mini.send_subscribe_message(&letter(ctx, message, openid)?).await;
    ctx.metrics.outbound("subscribe_message", if answer.is_ok() { "ok" } else { "failed" });
    record(ctx, message, answer.err()).await?;
    Ok(true)
}

/// Takes a message for a while, if it is still worth sending and the person has allowed it.
async fn claim(tx: &mut Tx<'_>, ctx: &Ctx, message: &Message) -> Result<Claim> {
    let now_ms = ctx.clock.now_ms();
    if !sql::claim(tx, message, now_ms + LEASE_MS).await? {
        return Ok(Claim::Lost);
    }
    let spent = message.credit_spent > 0;
    if message.kind == NoticeKind::WaitPay {
        let order = orders::find(tx, &message.order_id).await?;
        if order.is_none_or(|order| order.status != OrderStatus::PendingPayment) {
            let end = End { state: MessageState::Expired, errcode: None, error: None };
            finish(tx, ctx, message, end, spent).await?;
            return Ok(Claim::Ended);
        }
    }
    if !spent && !sql::spend_credit(tx, message, now_ms).await? {
        let end = End { state: MessageState::NoCredit, errcode: None, error: None };
        finish(tx, ctx, message, end, false).await?;
        return Ok(Claim::Ended);
    }
    Ok(Claim::Send)
}

fn letter(ctx: &Ctx, message: &Message, openid: String) -> Result<SubscribeMessage> {
    let data = serde_json::from_str(&message.message_values)
        .map_err(|e| Failure::internal("reading a message", e))?;
    let wechat = &ctx.config.wechat;
    let page = Some(wechat.order_page.as_str()).filter(|page| !page.is_empty());
    Ok(SubscribeMessage {
        touser: openid,
        template_id: message.template_id.clone(),
        page: page.map(|page| format!("{page}?order_id={}", message.order_id)),
        data,
        state: wechat.miniprogram_state.clone(),
    })
}

/// How a message ended.
#[derive(Clone, Copy)]
struct End<'a> {
    state: MessageState,
    errcode: Option<i64>,
    error: Option<&'a str>,
}

async fn finish(
    tx: &mut Tx<'_>,
    ctx: &Ctx,
    message: &Message,
    end: End<'_>,
    give_credit_back: bool,
) -> Result<()> {
    let now_ms = ctx.clock.now_ms();
    let ended = sql::end(tx, message, end.state, end.errcode, end.error, now_ms).await?;
    if ended && give_credit_back {
        sql::add_credit(tx, &message.user_id, &message.template_id, now_ms).await?;
    }
    Ok(())
}

/// Writes down what WeChat answered.
async fn record(ctx: &Ctx, message: &Message, refusal: Option<MiniError>) -> Result<()> {
    let error = refusal
        .as_ref()
        .map(|refusal| -> String { refusal.to_string().chars().take(ERROR_CHARS_MAX).collect() });
    let (refusal, error) = (refusal.as_ref(), error.as_deref());
    ctx.db
        .write(|tx| {
            Box::pin(async move {
                let Some(refusal) = refusal else {
                    let end = End { state: MessageState::Sent, errcode: Some(0), error: None };
                    finish(tx, ctx, message, end, false).await?;
                    alerts::close(tx, ctx, NOT_SENT, message.kind.as_str()).await?;
                    return Ok(());
                };
                refused(tx, ctx, message, refusal, error).await
            })
        })
        .await
}

async fn refused(
    tx: &mut Tx<'_>,
    ctx: &Ctx,
    message: &Message,
    refusal: &MiniError,
    error: Option<&str>,
) -> Result<()> {
    let errcode = refusal.errcode();
    if refusal.is_user_refused() {
        // Final, and no error: WeChat knows better than our count.
        sql::clear_credits(tx, message, ctx.clock.now_ms()).await?;
        let end = End { state: MessageState::Refused, errcode, error: None };
        return finish(tx, ctx, message, end, false).await;
    }
    let step = message.step + 1;
    let may_pass = refusal.is_passing() || refusal.is_setup();
    if may_pass && step < TRIES_MAX {
        if refusal.is_setup() {
            alerts::open(tx, ctx, NOT_SENT, message.kind.as_str(), error.unwrap_or_default()).await?;
        }
        let pause_ms = (FIRST_PAUSE_MS << message.step.clamp(0, 10)).min(LONGEST_PAUSE_MS);
        return sql::again(tx, message, step, ctx.clock.now_ms() + pause_ms, errcode, error).await;
    }
    tracing::warn!(notice.id = %message.notice_id, "message {} is given up: {refusal}", message.notice_id);
    alerts::open(tx, ctx, NOT_SENT, message.kind.as_str(), error.unwrap_or_default()).await?;
    let end = End { state: MessageState::GivenUp, errcode, error };
    finish(tx, ctx, message, end, true).await
}
