//! Database, kv and bus, each asked to do what it is there for.

use std::time::Duration;

use super::Findings;
use crate::app::App;
use crate::config::{BusBackend, Config, KvBackend, Mode};
use crate::kernel::{Clock, Millis};
use crate::platform::ctx::Ctx;
use crate::platform::db;

/// How far clocks may be apart. Nothing depends on their agreeing; times that people see do.
const CLOCKS_APART_MS: Millis = 2_000;
/// From here on a round trip is slow: every request makes several.
const SLOW: Duration = Duration::from_millis(20);
/// How long the bus may take to reach its broker.
const BUS_PATIENCE: Duration = Duration::from_secs(30);

pub async fn look(config: &Config, clock: &Clock, findings: &mut Findings) {
    let ctx = match App::context(config.clone(), clock.clone()).await {
        Ok(ctx) => ctx,
        Err(failure) => {
            let advice =
                "check [database], [kv] and [bus], the rights of the database's folder or of its user";
            return findings.fail("ports", failure.to_string(), advice);
        }
    };
    look_at_database(&ctx, findings).await;
    look_at_kv(&ctx, findings).await;
    look_at_bus(&ctx, findings).await;
    ctx.bus.close().await;
    ctx.db.close().await;
}

async fn look_at_database(ctx: &Ctx, findings: &mut Findings) {
    let look = match ctx.db.look(&ctx.clock).await {
        Ok(look) => look,
        Err(failure) => {
            let advice = "it answers no query or takes no writes: is it read-only, is its disk full, has the user the rights?";
            return findings.fail("database", failure.to_string(), advice);
        }
    };
    match &look.server {
        None => findings.ok("database", format!("a SQLite file, a write takes {}", shown(look.round_trip))),
        Some(server) => look_at_server(ctx, server, look.round_trip, findings),
    }
    if ctx.db.is_migrated().await {
        findings.ok("tables", "are those of this version");
    } else {
        let advice = "run `minimall migrate` (a start does it, too)";
        findings.warn("tables", "are not those of this version", advice);
    }
}

fn look_at_server(ctx: &Ctx, server: &db::Server, round_trip: Duration, findings: &mut Findings) {
    let detail = format!(
        "{}, {}, {}, a write takes {}",
        server.version,
        server.collation,
        server.isolation.to_lowercase(),
        shown(round_trip)
    );
    if round_trip > SLOW {
        let advice = "put the database into the same data centre; a slow disk shows here, too";
        findings.warn("database", detail, advice);
    } else {
        findings.ok("database", detail);
    }
    if !server.isolation.eq_ignore_ascii_case("READ-COMMITTED") {
        let advice = "our sessions ask for READ COMMITTED: does a proxy between us and the database undo it?";
        findings.fail("isolation", server.isolation.clone(), advice);
    }
    let connections = i64::from(ctx.config.database.connections);
    let statements = connections * i64::from(ctx.config.database.statements);
    for (what, ours, theirs, variable) in [
        ("connections", connections, server.connections_max, "max_connections"),
        ("statements", statements, server.statements_max, "max_prepared_stmt_count"),
    ] {
        let detail = format!("up to {ours} of this process, the server's {variable} is {theirs}");
        if (0..ours).contains(&theirs) {
            let advice = "raise it on the server, above what all processes take together, or lower ours";
            findings.fail(what, detail, advice);
        } else {
            findings.ok(what, detail);
        }
    }
    look_at_clock("clock", "the database's clock", server.clock_ahead_ms, findings);
    if ctx.config.bus.backend == BusBackend::Embedded {
        let advice = "one process alone may run like this; for several set bus.backend = \"rocketmq\"";
        findings.warn("database", "a server that several nodes could share, with the embedded bus", advice);
    }
}

fn look_at_clock(what: &'static str, whose: &str, ahead_ms: Millis, findings: &mut Findings) {
    let apart = format!(
        "{whose} is {} s {} ours",
        seconds(ahead_ms),
        if ahead_ms < 0 { "behind" } else { "ahead of" }
    );
    if ahead_ms.abs() <= CLOCKS_APART_MS {
        findings.ok(what, apart);
    } else {
        findings.warn(what, apart, "let both machines follow NTP (chrony or systemd-timesyncd)");
    }
}

async fn look_at_kv(ctx: &Ctx, findings: &mut Findings) {
    let kv = &ctx.config.kv;
    let look = match ctx.kv.look().await {
        Ok(Some(look)) => look,
        Ok(None) if ctx.config.bus.backend == BusBackend::Embedded => {
            return findings.ok("kv", "embedded in the process");
        }
        Ok(None) => {
            let advice = "with several nodes set kv.backend = \"redis\": what one of them knows the others read from the database";
            return findings.warn("kv", "embedded in the process, while the bus is for many", advice);
        }
        Err(failure) => {
            let advice =
                "check kv.urls, user and password, kv.tls_ca; until it answers the database has all the load";
            return findings.fail("kv", failure.to_string(), advice);
        }
    };
    let kind = match kv.backend {
        KvBackend::RedisSentinel => ", the sentinels' master",
        KvBackend::RedisCluster => ", a cluster",
        KvBackend::Redis | KvBackend::Embedded => "",
    };
    let detail = format!("Redis {}{kind}, a write and a read take {}", look.version, shown(look.round_trip));
    if look.round_trip > SLOW || look.round_trip.as_millis() as u64 * 2 > kv.timeout_ms {
        let advice = "put it into the same data centre; from kv.timeout_ms on it counts as gone";
        findings.warn("kv", detail, advice);
    } else {
        findings.ok("kv", detail);
    }
    look_at_clock("kv clock", "Redis' clock", look.clock_ahead_ms, findings);
    if look.maxmemory_policy == "noeviction" {
        let detail = "Redis refuses writes when its memory is full";
        findings.warn(
            "kv memory",
            detail,
            "set maxmemory, and maxmemory-policy allkeys-lru: it makes room by itself",
        );
    }
}

async fn look_at_bus(ctx: &Ctx, findings: &mut Findings) {
    if ctx.config.bus.backend == BusBackend::Embedded {
        return findings.ok("bus", "embedded in the process");
    }
    // The client connects in the background.
    let reached = async {
        loop {
            match ctx.bus.probe().await {
                Ok(said) => return said,
                Err(why) => tracing::debug!("the broker is asked again: {why}"),
            }
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    };
    match tokio::time::timeout(BUS_PATIENCE, reached).await {
        Ok(said) => findings.ok("bus", said),
        Err(_) => {
            let why = ctx.bus.probe().await.err().unwrap_or_else(|| "it was too slow".to_owned());
            let advice = "is the name server right (bus.name_server), are the topics there (deploy/rocketmq/topics.sh), \
                          do access_key, secret_key and tls fit the broker?";
            findings.fail("bus", why, advice);
        }
    }
    if ctx.config.bus.node_name.is_empty() && ctx.config.mode == Mode::Production {
        let advice = "set bus.node_name to a name that no other node has and that stays";
        findings.warn("bus", "this node is named by host and port", advice);
    }
}

fn shown(took: Duration) -> String {
    format!("{:.1} ms", took.as_secs_f64() * 1_000.0)
}

fn seconds(ms: Millis) -> String {
    format!("{:.1}", ms.abs() as f64 / 1_000.0)
}
