//! The end of an account, as far as it is about who somebody is; and the row that everything about a person
//! queues behind, so that it comes before that end or not at all.

use super::{EndReason, FORMER_OPENID, revoke, sql};
use crate::kernel::{Failure, Result, UserId, common};
use crate::platform::ctx::Ctx;
use crate::platform::db::{Conn, Tx};

/// What a deleted account is called.
pub(super) const NICKNAME: &str = "已注销用户";

/// First in whatever leaves something of a person behind: takes their row for the rest of the transaction, so
/// that the account is not deleted meanwhile.
///
/// # Errors
/// `unauthenticated` when the account is deleted.
pub async fn hold(tx: &mut Tx<'_>, user: &UserId) -> Result<()> {
    if try_hold(tx, user).await? { Ok(()) } else { Err(Failure::new(&common::UNAUTHENTICATED)) }
}

/// The same for what happens without the person: false when the account is deleted.
///
/// # Errors
/// The database.
pub async fn try_hold(tx: &mut Tx<'_>, user: &UserId) -> Result<bool> {
    sql::bump_guard(tx, user).await
}

/// Had this person an account before, and deleted it?
///
/// # Errors
/// The database.
pub async fn came_back(conn: &mut Conn, user: &UserId) -> Result<bool> {
    sql::came_back(conn, user).await
}

/// Forgets a person whose row is held: the row stays, for the ledger, and nothing of the person in it; the
/// sessions end. Of an openid a keyed hash is kept, which only tells that it had an account before.
///
/// # Errors
/// The database.
pub async fn forget(tx: &mut Tx<'_>, ctx: &Ctx, user: &UserId) -> Result<()> {
    let now_ms = ctx.clock.now_ms();
    for (appid, openid) in sql::openids_of(tx, user).await? {
        if let Some(hash) = openid_hashes(ctx, &appid, &openid).first() {
            sql::insert_former(tx, hash, now_ms).await?;
        }
    }
    // First the openids: a login that goes on at this moment is over behind it, and its session is seen below.
    sql::delete_openids(tx, user).await?;
    let live = sql::newest_sessions(tx, user).await?;
    for session in &live {
        sql::end(tx, &session.id, EndReason::Deleted, now_ms).await?;
    }
    revoke::stage(tx, ctx, &live).await?;
    sql::forget_user(tx, user, NICKNAME, now_ms).await
}

/// After the commit: every node forgets the person's sessions at once, without waiting for the outbox.
pub async fn announce_deleted(ctx: &Ctx, user: &UserId) {
    let ended = async { sql::ended_with_account_of(&mut *ctx.db.reader().await?, user).await };
    match ended.await {
        Ok(ended) => revoke::announce(ctx, &ended).await,
        // The outbox tells the nodes in a moment.
        Err(failure) => tracing::warn!("the end of an account was not announced at once: {failure}"),
    }
}

/// The hashes under which a former openid may stand: of the key that is current first, then of older ones.
pub(super) fn openid_hashes(ctx: &Ctx, appid: &str, openid: &str) -> Vec<String> {
    ctx.secrets.indexes(FORMER_OPENID, &format!("{appid}\n{openid}"))
}
