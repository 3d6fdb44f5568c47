//! Proposals: what takes two people. One proposes, another confirms or declines; the conditional update of
//! the row decides, so neither the same person twice nor two people at once can do both.

use std::collections::BTreeSet;

use serde_json::Value;
use sqlx::{AssertSqlSafe, FromRow};

use super::ctx::Ctx;
use super::db::{Conn, Tx, changed, inserted, violations};
use crate::kernel::{
    Actor, Cursor, Failure, Limit, Millis, Page, ProposalId, Result, StoreId, codes, common, text_enum,
};

codes! {
    PROPOSAL_NOT_FOUND: 404 "proposal_not_found" "There is no such proposal.";
    PROPOSAL_OPEN: 409 "proposal_open" "A proposal waits for a second person already; confirm or decline that one.";
    PROPOSAL_DECIDED: 409 "proposal_decided" "This proposal was confirmed or declined before, or what it was about is over.";
    SECOND_PERSON_REQUIRED: 409 "second_person_required" "Whoever proposed it can't confirm it: it takes a second person.";
}

text_enum! {
    /// What is proposed.
    pub enum ProposalKind {
        /// The money of a refund went back on another way.
        RefundProof = "REFUND_PROOF",
        /// A refund is given up without money.
        RefundGiveUp = "REFUND_GIVE_UP",
        /// An order is closed although the channel does not answer.
        OrderClose = "ORDER_CLOSE",
    }
}

text_enum! {
    /// Where a proposal stands.
    pub enum ProposalState {
        Open = "OPEN",
        Confirmed = "CONFIRMED",
        Declined = "DECLINED",
        /// What it was about came to its end without it.
        Dropped = "DROPPED",
    }
}

/// A proposal.
#[derive(Debug, Clone, FromRow)]
pub struct Proposal {
    pub id: ProposalId,
    pub kind: ProposalKind,
    /// The id of what it is about.
    pub object: String,
    pub store_id: StoreId,
    /// JSON.
    pub detail: String,
    pub state: ProposalState,
    pub proposed_by: String,
    pub proposed_ms: Millis,
    pub decided_by: Option<String>,
    pub decided_ms: Option<Millis>,
    /// Why it was declined.
    pub reason: Option<String>,
}

macro_rules! columns {
    () => {
        "id, kind, object, store_id, detail, state, proposed_by, proposed_ms, decided_by, decided_ms, reason"
    };
}

/// What a proposal is about: the id of a thing, and the store that the thing is of.
#[derive(Clone, Copy)]
pub struct About<'a> {
    pub object: &'a str,
    pub store: &'a StoreId,
}

/// Proposes something.
///
/// # Errors
/// `proposal_open`: something else about it waits for its second person.
pub async fn propose(
    tx: &mut Tx<'_>,
    ctx: &Ctx,
    actor: &Actor,
    kind: ProposalKind,
    about: About<'_>,
    detail: &Value,
) -> Result<ProposalId> {
    let id: ProposalId = ctx.new_id();
    let fresh = inserted(
        sqlx::query(
            "INSERT INTO proposals (id, kind, object, store_id, detail, state, open_object, proposed_by, \
             proposed_ms) VALUES (?, ?, ?, ?, ?, 'OPEN', ?, ?, ?)",
        )
        .bind(&id)
        .bind(kind)
        .bind(about.object)
        .bind(about.store)
        .bind(detail.to_string())
        .bind(about.object)
        .bind(person(actor)?)
        .bind(ctx.clock.now_ms())
        .execute(&mut **tx)
        .await,
    )?;
    if fresh { Ok(id) } else { Err(Failure::new(&PROPOSAL_OPEN)) }
}

/// Another person agrees.
///
/// # Errors
/// `proposal_not_found`, `proposal_decided`, `second_person_required`.
pub async fn confirm(tx: &mut Tx<'_>, ctx: &Ctx, actor: &Actor, id: &ProposalId) -> Result<Proposal> {
    let confirmed = changed(
        sqlx::query(
            "UPDATE proposals SET state = 'CONFIRMED', open_object = NULL, decided_by = ?, decided_ms = ? \
             WHERE id = ? AND state = 'OPEN' AND proposed_by <> ?",
        )
        .bind(person(actor)?)
        .bind(ctx.clock.now_ms())
        .bind(id)
        .bind(person(actor)?)
        .execute(&mut **tx)
        .await,
    )?;
    let proposal = find(tx, id).await?.ok_or_else(|| Failure::new(&PROPOSAL_NOT_FOUND))?;
    match proposal.state {
        ProposalState::Confirmed if confirmed => Ok(proposal),
        ProposalState::Open => Err(Failure::new(&SECOND_PERSON_REQUIRED)),
        _ => Err(Failure::new(&PROPOSAL_DECIDED)),
    }
}

/// A person does not agree, be it the one who proposed it.
///
/// # Errors
/// `proposal_not_found`, `proposal_decided`.
pub async fn decline(
    tx: &mut Tx<'_>,
    ctx: &Ctx,
    actor: &Actor,
    id: &ProposalId,
    reason: &str,
) -> Result<Proposal> {
    let declined = changed(
        sqlx::query(
            "UPDATE proposals SET state = 'DECLINED', open_object = NULL, decided_by = ?, decided_ms = ?, \
             reason = ? WHERE id = ? AND state = 'OPEN'",
        )
        .bind(person(actor)?)
        .bind(ctx.clock.now_ms())
        .bind(reason)
        .bind(id)
        .execute(&mut **tx)
        .await,
    )?;
    let proposal = find(tx, id).await?.ok_or_else(|| Failure::new(&PROPOSAL_NOT_FOUND))?;
    if declined { Ok(proposal) } else { Err(Failure::new(&PROPOSAL_DECIDED)) }
}

/// What the proposal was about came to its end without it; without one nothing changes.
///
/// # Errors
/// The database.
pub async fn drop_open(tx: &mut Tx<'_>, ctx: &Ctx, object: &str) -> Result<()> {
    sqlx::query(
        "UPDATE proposals SET state = 'DROPPED', open_object = NULL, decided_ms = ? WHERE open_object = ?",
    )
    .bind(ctx.clock.now_ms())
    .bind(object)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// # Errors
/// The database.
pub async fn find(conn: &mut Conn, id: &ProposalId) -> Result<Option<Proposal>> {
    Ok(sqlx::query_as(concat!("SELECT ", columns!(), " FROM proposals WHERE id = ?"))
        .bind(id)
        .fetch_optional(conn)
        .await?)
}

/// What was ever proposed about an object, oldest first.
///
/// # Errors
/// The database.
pub async fn of_object(conn: &mut Conn, object: &str) -> Result<Vec<Proposal>> {
    Ok(sqlx::query_as(concat!(
        "SELECT ",
        columns!(),
        " FROM proposals WHERE object = ? ORDER BY id LIMIT 100"
    ))
    .bind(object)
    .fetch_all(conn)
    .await?)
}

/// A condition that narrows proposals to these stores; `None`: to all.
fn of_stores(stores: Option<&BTreeSet<StoreId>>) -> String {
    match stores {
        None => String::new(),
        Some(stores) if stores.is_empty() => " AND 1 = 0".to_owned(),
        Some(stores) => format!(" AND store_id IN ({})", vec!["?"; stores.len()].join(", ")),
    }
}

/// Proposals in one state, newest first, of these stores.
///
/// # Errors
/// The database.
pub async fn list(
    conn: &mut Conn,
    stores: Option<&BTreeSet<StoreId>>,
    state: ProposalState,
    after: Option<&Cursor>,
    limit: Limit,
) -> Result<Page<Proposal>> {
    let query = format!(
        concat!(
            "SELECT ",
            columns!(),
            " FROM proposals WHERE state = ? AND id < ?{} ORDER BY id DESC LIMIT ?"
        ),
        of_stores(stores)
    );
    let mut query = sqlx::query_as(AssertSqlSafe(query)).bind(state).bind(after.map_or("~", Cursor::key));
    for store in stores.into_iter().flatten() {
        query = query.bind(store);
    }
    let rows: Vec<Proposal> = query.bind(limit.and_one()).fetch_all(conn).await?;
    Ok(Page::cut(rows, limit, |proposal| proposal.id.to_string()))
}

/// How many proposals of these stores wait for a second person.
///
/// # Errors
/// The database.
pub async fn count_open(conn: &mut Conn, stores: Option<&BTreeSet<StoreId>>) -> Result<i64> {
    let query = format!("SELECT COUNT(*) FROM proposals WHERE state = 'OPEN'{}", of_stores(stores));
    let mut query = sqlx::query_as(AssertSqlSafe(query));
    for store in stores.into_iter().flatten() {
        query = query.bind(store);
    }
    let (count,): (i64,) = query.fetch_one(conn).await?;
    Ok(count)
}

const RULES: &[(&str, &str)] = &[
    (
        "proposals: who confirmed one is not who made it",
        "SELECT id FROM proposals WHERE state = 'CONFIRMED' AND (decided_by IS NULL OR decided_by = proposed_by)",
    ),
    (
        "proposals: exactly the open ones keep others from being made",
        "SELECT id FROM proposals WHERE (state = 'OPEN' AND (open_object IS NULL OR open_object <> object)) \
         OR (state <> 'OPEN' AND open_object IS NOT NULL)",
    ),
];

/// What must be true of proposals at any moment: rule and violations.
///
/// # Errors
/// The database.
pub async fn invariants(conn: &mut Conn) -> Result<Vec<(&'static str, Vec<String>)>> {
    violations(conn, RULES).await
}

/// Only people propose and confirm.
fn person(actor: &Actor) -> Result<&str> {
    match actor {
        Actor::Staff(id) => Ok(id.as_str()),
        Actor::User(_) | Actor::System(_) => Err(Failure::new(&common::FORBIDDEN)),
    }
}
