//! What customers are told: a notice in the app in any case, and a subscribe message through WeChat where
//! they have allowed one.
//!
//! Owns `subscribe_credits`, `notices` and `messages`; publishes no event. It takes the events of orders in
//! their order, and settled refunds. The notice and the message that is to be sent are rows of the
//! delivery's own transaction; the worker sends the messages of one order one after another. Invariants:
//! credits are never below zero, and no message waits long after its time.

mod api;
mod builders;
mod credits;
mod send;
mod sql;
mod take;

pub use api::NotificationsApi;
pub use credits::grant;
pub use send::{next_due, tick};
pub use sql::Notice;
pub use take::subscriptions;

use crate::config::Templates;
use crate::kernel::{
    Cursor, Failure, Limit, Millis, NoticeId, OrderId, Page, Result, UserId, codes, minute_ms, text_enum,
};
use crate::platform::ctx::Ctx;
use crate::platform::db::{Conn, Tx};

codes! {
    NOTICE_NOT_FOUND: 404 "notice_not_found" "You have no notice with this id.";
}

text_enum! {
    /// What a notice is about. The first six also have a template of subscribe messages.
    pub enum NoticeKind {
        WaitPay = "wait_pay",
        Cancel = "cancel",
        /// Shipped, or ready to be fetched.
        Confirm = "confirm",
        Pay = "pay",
        Finished = "finished",
        Refund = "refund",
        PaymentFailed = "payment_failed",
        PaymentOrphaned = "payment_orphaned",
        RefundRejected = "refund_rejected",
        TrackingCorrected = "tracking_corrected",
        /// The goods are to be sent back first.
        ReturnRequired = "return_required",
        /// A refund ended without money, and nobody rejected it.
        RefundDropped = "refund_dropped",
    }
}

text_enum! {
    /// When the mini-program asks for permission: WeChat allows it only where the person taps.
    pub enum Moment {
        PlaceOrder = "place_order",
        Pay = "pay",
        RequestRefund = "request_refund",
        ConfirmReceipt = "confirm_receipt",
    }
}

text_enum! {
    /// What became of a message through WeChat.
    pub enum MessageState {
        Pending = "PENDING",
        Sent = "SENT",
        /// The person has allowed none, as far as we know.
        NoCredit = "NO_CREDIT",
        /// WeChat says that the person has allowed none.
        Refused = "REFUSED",
        /// It was about something that is over.
        Expired = "EXPIRED",
        /// WeChat does not take it; an alert is open.
        GivenUp = "GIVEN_UP",
    }
}

impl NoticeKind {
    /// Its template in the configuration; none: it is only a notice.
    fn template(self, templates: &Templates) -> Option<&str> {
        let id = match self {
            Self::WaitPay => &templates.wait_pay,
            Self::Cancel => &templates.cancel,
            Self::Confirm => &templates.confirm,
            Self::Pay => &templates.pay,
            Self::Finished => &templates.finished,
            Self::Refund => &templates.refund,
            Self::PaymentFailed
            | Self::PaymentOrphaned
            | Self::RefundRejected
            | Self::TrackingCorrected
            | Self::ReturnRequired
            | Self::RefundDropped => return None,
        };
        Some(id.as_str()).filter(|id| !id.is_empty())
    }
}

impl Moment {
    /// What is asked for at this moment: WeChat shows at most three in one prompt.
    const fn kinds(self) -> &'static [NoticeKind] {
        match self {
            Self::PlaceOrder => &[NoticeKind::WaitPay, NoticeKind::Pay, NoticeKind::Cancel],
            Self::Pay => &[NoticeKind::Pay, NoticeKind::Confirm, NoticeKind::Refund],
            Self::RequestRefund => &[NoticeKind::Refund],
            Self::ConfirmReceipt => &[NoticeKind::Finished],
        }
    }
}

/// A customer's notices, newest first.
///
/// # Errors
/// The database.
pub async fn list(
    ctx: &Ctx,
    user: &UserId,
    unread_only: bool,
    after: Option<&Cursor>,
    limit: Limit,
) -> Result<Page<Notice>> {
    let conn = &mut *ctx.db.reader().await?;
    let rows = sql::list(conn, user, unread_only, after.map(Cursor::key), limit.and_one()).await?;
    Ok(Page::cut(rows, limit, |notice| notice.id.to_string()))
}

/// Forgets what a person was told, or is to be told, and what they allowed; their row is held, and so are these
/// orders, which are all of theirs.
///
/// # Errors
/// The database.
pub async fn forget(tx: &mut Tx<'_>, user: &UserId, orders: &[OrderId]) -> Result<()> {
    sql::delete_all(tx, user, orders).await
}

/// The customer has read a notice; once more changes nothing.
///
/// # Errors
/// `notice_not_found`.
pub async fn read(ctx: &Ctx, user: &UserId, id: &NoticeId) -> Result<()> {
    ctx.db
        .write(|tx| {
            Box::pin(async move {
                let marked = sql::mark_read(tx, user, id, ctx.clock.now_ms()).await?;
                if marked || sql::exists(tx, user, id).await? {
                    Ok(())
                } else {
                    Err(Failure::new(&NOTICE_NOT_FOUND))
                }
            })
        })
        .await
}

/// How long a message may be overdue before `check` calls it stuck.
const BOUND_MS: Millis = minute_ms(10);

/// What must be true of the rows here: rule and violations, at most 20 each.
///
/// # Errors
/// The database.
pub async fn invariants(conn: &mut Conn, now_ms: Millis) -> Result<Vec<(&'static str, Vec<String>)>> {
    Ok(vec![
        ("notifications: nobody has fewer than no credits", sql::negative_credits(conn).await?),
        ("notifications: a message that is over is not due any more", sql::ended_and_due(conn).await?),
        ("liveness: no message waits long after its time", sql::overdue(conn, now_ms - BOUND_MS).await?),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_prompt_asks_for_more_than_three_and_every_template_is_asked_for() {
        let mut asked = Vec::new();
        for moment in Moment::ALL {
            assert!((1..=3).contains(&moment.kinds().len()), "{moment}");
            asked.extend_from_slice(moment.kinds());
        }
        let templates = Templates {
            wait_pay: "1".to_owned(),
            cancel: "2".to_owned(),
            confirm: "3".to_owned(),
            pay: "4".to_owned(),
            finished: "5".to_owned(),
            refund: "6".to_owned(),
        };
        for kind in NoticeKind::ALL {
            assert_eq!(kind.template(&templates).is_some(), asked.contains(kind), "{kind}");
        }
    }
}
