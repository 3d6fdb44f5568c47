//! `minimall doctor`: looks at everything that a set-up needs, end to end, each with what to do when it is
//! not right. It changes nothing: no migration, no account, no money.

mod findings;
mod ports;
mod wechat;

use std::time::Duration;

pub use findings::{Finding, Findings, Level};

use crate::app;
use crate::config::{Config, KvBackend, Mode, WechatMode};
use crate::kernel::{Clock, Failure, Result, rfc3339};

/// How long an answer over HTTP may take.
const HTTP_TIMEOUT: Duration = Duration::from_secs(5);

/// Looks at a set-up and prints what it found. False: something has to be mended.
///
/// # Errors
/// None of its own: what is wrong is printed.
pub async fn run(config: Config) -> Result<bool> {
    println!("minimall {} doctor, {}", env!("CARGO_PKG_VERSION"), rfc3339(Clock::system().now_ms()));
    println!();
    let findings = look_into(&config, Clock::system(), Findings::shown()).await;
    findings.show_verdict();
    Ok(findings.is_healthy())
}

/// Looks at a set-up.
pub async fn look(config: &Config, clock: Clock) -> Findings {
    look_into(config, clock, Findings::default()).await
}

async fn look_into(config: &Config, clock: Clock, mut findings: Findings) -> Findings {
    look_at_config(config, &mut findings);
    // Boxed: the futures of all clients nested in each other would ask for a deeper look than rustc takes.
    Box::pin(ports::look(config, &clock, &mut findings)).await;
    if config.wechat.mode == WechatMode::Sandbox {
        findings.ok("wechat", "played by the sandbox, which starts with the server");
    } else {
        look_at_public_url(config, &mut findings).await;
        Box::pin(wechat::look(config, &clock, &mut findings)).await;
    }
    findings
}

/// Asks the program of this configuration, on this machine, whether it is ready: for health checks of containers.
///
/// # Errors
/// The address to ask is not known.
pub async fn health(config: &Config) -> Result<bool> {
    let server = &config.server;
    let listen = if server.metrics_listen.is_empty() { &server.listen } else { &server.metrics_listen };
    // Bound to every address means: also to this one.
    let at = listen.replace("0.0.0.0", "127.0.0.1").replace("[::]", "[::1]");
    let failed = |error: reqwest::Error| Failure::internal(format!("asking {at}"), error.without_url());
    let answer = http().map_err(failed)?.get(format!("http://{at}/readyz")).send().await.map_err(failed)?;
    let is_ready = answer.status().is_success();
    println!("{}", answer.text().await.map_err(failed)?);
    Ok(is_ready)
}

fn http() -> reqwest::Result<reqwest::Client> {
    reqwest::Client::builder().no_proxy().timeout(HTTP_TIMEOUT).build()
}

/// An error and what caused it, in one line.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        next = cause.source();
    }
    text
}

fn look_at_config(config: &Config, findings: &mut Findings) {
    let is_production = config.mode == Mode::Production;
    if is_production {
        findings.ok("mode", "production");
    } else {
        let advice = "set mode = \"production\" before real customers come";
        findings.warn("mode", "development: demo secrets and the sandbox are allowed", advice);
    }
    if !config.has_demo_master_key() {
        findings.ok("secrets", "a master key of your own; keep a copy apart from the database's backups");
    } else {
        let detail = "the public demo master key is in use";
        let advice = "set secrets.master_key (openssl rand -hex 32) and keep a copy: what it encrypted is lost without it";
        match is_production {
            true => findings.fail("secrets", detail, advice),
            false => findings.warn("secrets", detail, advice),
        }
    }
    match app::refuse_unsafe(config) {
        Ok(()) => {}
        Err(failure) => {
            findings.fail("config", failure.to_string(), "correct it: production refuses to start like this");
        }
    }
    let server = &config.server;
    if is_production && server.metrics_listen.is_empty() {
        let detail = "/metrics and /readyz are served beside the API";
        let advice = "set server.metrics_listen to an address that only your own network reaches";
        findings.warn("metrics", detail, advice);
    }
    if is_production && config.kv.backend != KvBackend::Embedded && config.kv.key_prefix.is_empty() {
        findings.warn("kv", "the keys have no prefix", "set kv.key_prefix if anything else uses this Redis");
    }
}

/// WeChat calls back there.
async fn look_at_public_url(config: &Config, findings: &mut Findings) {
    let url = format!("{}/healthz", config.server.public_url.trim_end_matches('/'));
    let asked = async { http()?.get(&url).send().await?.error_for_status() };
    match asked.await {
        Ok(_) => findings.ok("public url", format!("{} answers", config.server.public_url)),
        Err(error) => findings.warn(
            "public url",
            format!("{} does not answer from here: {}", config.server.public_url, causes(&error.without_url())),
            "before the first start that is so; else check the proxy, its certificate and DNS: WeChat Pay calls back there",
        ),
    }
}
