//! `minimall doctor`: looks at everything that a set-up needs, each with what to do when it is not right.

use crate::app::{self, App};
use crate::config::{Config, Mode, WechatMode};
use crate::kernel::{Clock, Millis, Result, minute_ms, rfc3339};
use crate::payments::Provider;
use crate::platform::ctx::Ctx;

/// WeChat refuses signatures that are older than five minutes.
const CLOCK_SLACK_MS: Millis = minute_ms(1);

struct Findings {
    healthy: bool,
}

impl Findings {
    fn good(&self, what: &str, detail: &str) {
        println!("  ok    {what:<10} {detail}");
    }

    fn bad(&mut self, what: &str, detail: &str, advice: &str) {
        self.healthy = false;
        println!("  BAD   {what:<10} {detail}");
        println!("                   -> {advice}");
    }

    fn note(&self, what: &str, detail: &str) {
        println!("  note  {what:<10} {detail}");
    }
}

/// Looks at a set-up. False: something has to be done.
///
/// # Errors
/// None of its own: what is wrong is printed.
pub async fn run(config: Config) -> Result<bool> {
    let mut findings = Findings { healthy: true };
    let clock = Clock::system();
    println!("minimall doctor");
    look_at_config(&config, &mut findings);
    findings.good("clock", &rfc3339(clock.now_ms()));
    match App::context(config.clone(), clock.clone()).await {
        Ok(ctx) => look_at_ports(&ctx, &mut findings).await,
        Err(failure) => findings.bad(
            "database",
            &failure.to_string(),
            "check [database] and the rights of its folder or its user",
        ),
    }
    if config.wechat.mode == WechatMode::Sandbox {
        findings.note("wechat", "played by the sandbox, which starts with the server");
    } else {
        look_at_wechat(&config, &clock, &mut findings).await;
    }
    println!(
        "{}",
        if findings.healthy { "Everything is in order." } else { "Something has to be done: see above." }
    );
    Ok(findings.healthy)
}

fn look_at_config(config: &Config, findings: &mut Findings) {
    match config.mode {
        Mode::Production => findings.good("mode", "production"),
        Mode::Development => {
            findings.note("mode", "development: set mode = \"production\" before real customers come")
        }
    }
    if config.has_demo_master_key() {
        let advice = "set secrets.master_key (openssl rand -hex 32) and keep a copy: what it encrypted is lost without it";
        if config.mode == Mode::Production {
            findings.bad("secrets", "the public demo master key is in use", advice);
        } else {
            findings.note("secrets", "the public demo master key is in use: fine for trying out");
        }
    } else {
        findings.good("secrets", "a master key of your own");
    }
    if let Err(failure) = app::refuse_unsafe(config) {
        findings.bad("config", &failure.to_string(), "production refuses to start like this");
    }
}

async fn look_at_ports(ctx: &Ctx, findings: &mut Findings) {
    match ctx.db.migrate().await {
        Ok(()) => {
            findings.good("database", &format!("{} is open and up to date", ctx.config.database.shown_url()))
        }
        Err(failure) => {
            findings.bad("database", &failure.to_string(), "was it written by a newer version of minimall?")
        }
    }
    match ctx.kv.put("doctor", b"1", 1_000).await {
        Ok(()) => findings.good("kv", "embedded in the process"),
        Err(error) => findings.bad("kv", &error.to_string(), "check [kv]"),
    }
    findings.good("bus", "embedded in the process");
}

async fn look_at_wechat(config: &Config, clock: &Clock, findings: &mut Findings) {
    let (mini, _, channel) = match app::clients(config, clock) {
        Ok(clients) => clients,
        Err(failure) => {
            return findings.bad(
                "keys",
                &failure.to_string(),
                "correct the key that is named in [wechat] or [wechat_pay]",
            );
        }
    };
    findings.good("keys", "can be read");
    match mini.ping().await {
        Ok(()) => findings.good("wechat", "the mini-program API gives a token"),
        Err(error) => findings.bad(
            "wechat",
            &error.to_string(),
            "check wechat.appid, wechat.secret and the IP whitelist in the console",
        ),
    }
    let Provider::WechatPay(pay) = &channel.provider;
    match pay.ping().await {
        Ok(()) => findings.good("wechat pay", "signs, verifies, and its clock agrees with ours"),
        Err(error) => findings.bad(
            "wechat pay",
            &error.to_string(),
            &format!(
                "check mchid, serial, key and APIv3 key, and that this clock is right within {} s",
                CLOCK_SLACK_MS / 1_000
            ),
        ),
    }
}
