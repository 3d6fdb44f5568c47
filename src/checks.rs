//! `minimall check`: every invariant of every feature, each with its count, in one snapshot.

use crate::kernel::{Millis, Result, minute_ms};
use crate::platform::ctx::Ctx;
use crate::platform::db::Conn;
use crate::platform::{alerts, bus, inbox, proposals};
use crate::staff::StoreScope;
use crate::{
    accounts, addresses, catalog, coupons, feed, identity, notifications, orders, payments, refunds,
    shipping, staff,
};

/// How late an event may be before it counts as stuck.
const BUS_BOUND_MS: Millis = minute_ms(10);

/// One rule and what violates it.
#[derive(Debug)]
pub struct Finding {
    pub rule: String,
    /// Ids, at most 20.
    pub violations: Vec<String>,
}

/// What a check found.
#[derive(Debug, Default)]
pub struct Report {
    pub findings: Vec<Finding>,
    /// Work in flight, and what waits for a person: neither is a violation.
    pub waiting: Vec<(&'static str, i64)>,
}

impl Report {
    pub fn violations(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| !finding.violations.is_empty())
    }

    fn add(&mut self, rules: Vec<(&'static str, Vec<String>)>) {
        let findings =
            rules.into_iter().map(|(rule, violations)| Finding { rule: rule.to_owned(), violations });
        self.findings.extend(findings);
    }
}

/// Checks a live database.
///
/// # Errors
/// The database.
pub async fn run(ctx: &Ctx) -> Result<Report> {
    let mut snapshot = ctx.db.snapshot().await?;
    let conn: &mut Conn = &mut snapshot;
    let mut report = Report::default();
    report.add(staff::invariants(conn).await?);
    report.add(identity::invariants(conn).await?);
    report.add(addresses::invariants(conn).await?);
    report.add(catalog::invariants(conn).await?);
    report.add(coupons::invariants(conn).await?);
    report.add(orders::invariants(conn).await?);
    report.add(payments::invariants(conn).await?);
    report.add(refunds::invariants(conn, ctx.clock.now_ms()).await?);
    report.add(proposals::invariants(conn).await?);
    report.add(shipping::invariants(conn, ctx.clock.now_ms()).await?);
    report.add(notifications::invariants(conn, ctx.clock.now_ms()).await?);
    report.add(feed::invariants(conn).await?);
    report.add(accounts::invariants(conn).await?);
    liveness(conn, ctx.clock.now_ms(), &mut report).await?;
    waiting(conn, &mut report).await?;
    snapshot.end().await?;
    Ok(report)
}

async fn liveness(conn: &mut Conn, now_ms: Millis, report: &mut Report) -> Result<()> {
    const SHOWN: i64 = 20;
    let orders = orders::stuck(conn, now_ms).await?.iter().map(ToString::to_string).collect();
    report.add(vec![
        (
            "liveness: no event waits long after its time",
            bus::overdue(conn, now_ms - BUS_BOUND_MS, SHOWN).await?,
        ),
        ("liveness: no notice waits long", inbox::overdue(conn, now_ms - inbox::BOUND_MS, SHOWN).await?),
        ("liveness: no unpaid or closing order is long past its deadline", orders),
        ("liveness: no refund waits long for the channel", refunds::stuck(conn, now_ms).await?),
    ]);
    Ok(())
}

/// The levels that somebody watches, into the metrics; each is a few rows of an index. The alert rules
/// and the dashboard in `deploy/` are made of them.
///
/// # Errors
/// The database.
pub async fn measure(ctx: &Ctx) -> Result<()> {
    let now_ms = ctx.clock.now_ms();
    let conn = &mut *ctx.db.reader().await?;
    let refunds = refunds::levels(conn, now_ms).await?;
    for (level, value) in [
        ("bus_up", i64::from(ctx.bus.is_available())),
        ("bus_lag_ms", bus::lag_ms(conn, now_ms).await?),
        ("dead_letters", bus::count_parked(conn).await?),
        ("inbox_lag_ms", inbox::lag_ms(conn, now_ms).await?),
        ("parked_notices", inbox::count_parked(conn).await?),
        ("deadline_lag_ms", orders::deadline_lag_ms(conn, now_ms).await?),
        ("refund_lag_ms", refunds.lag_ms),
        ("refunds_at_channel", refunds.at_channel),
        ("refunds_for_people", refunds.for_people),
        ("open_alerts", alerts::count(conn).await?),
        // Levels are as old as this: who watches them notices when nobody measures.
        ("measured_at_s", now_ms / 1_000),
    ] {
        ctx.metrics.set(level, value);
    }
    Ok(())
}

async fn waiting(conn: &mut Conn, report: &mut Report) -> Result<()> {
    let refunds = refunds::waiting(conn, &StoreScope::All).await?;
    report.waiting = vec![
        ("dead letters", bus::count_parked(conn).await?),
        ("parked notices", inbox::count_parked(conn).await?),
        ("mismatched payments", payments::count_mismatched(conn, &StoreScope::All).await?),
        ("refunds that only people can end", refunds.manual),
        ("returned goods to look at", refunds.returns_to_check),
        ("refunds of the channel that fit none here", refunds.discrepancies),
        ("proposals that wait for a second person", proposals::count_open(conn, None).await?),
        ("open alerts", alerts::count(conn).await?),
    ];
    Ok(())
}
