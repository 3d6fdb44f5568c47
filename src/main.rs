//! The command line: serve (the default) and the commands around it.

#![recursion_limit = "512"]

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use minimall::app::{App, Stop};
use minimall::config::{Config, Mode, WechatMode};
use minimall::kernel::{Clock, Failure, Result};
use minimall::sandbox::{self, Sandbox};
use minimall::{checks, demo, doctor, routes, staff, telemetry};

/// The backend for WeChat mini-program shops: one command, no lost money, no lost messages.
#[derive(Parser)]
#[command(version, about)]
struct Cli {
    /// A configuration file over the defaults; the environment (MINIMALL__SECTION__KEY) goes over both.
    #[arg(long, short, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Serve the API, and in sandbox mode WeChat beside it (the default).
    Serve,
    /// Do the background work alone, beside servers that share database, Redis and RocketMQ.
    Worker,
    /// Bring the database to this version and stop.
    Migrate,
    /// Write openapi/app.json and openapi/admin.json.
    Openapi {
        /// Only compare; fail when a file differs from the code.
        #[arg(long)]
        check: bool,
    },
    /// Serve the sandbox alone: WeChat and WeChat Pay with demo keys.
    Sandbox,
    /// Fill the database with a shop to try things on.
    Demo,
    /// Give a staff member a new random password, and end their sessions.
    StaffPassword {
        /// The user name to sign in with.
        user_name: String,
    },
    /// Check every invariant of the database; fail when one is violated.
    Check,
    /// Ask the program of this configuration, on this machine, whether it is ready: for container health checks.
    Health,
    /// Look at configuration, keys, clock, database and WeChat, and say what to do.
    Doctor,
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failure) => {
            eprintln!("minimall: {failure}");
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: Cli) -> Result<bool> {
    let config = Config::load(cli.config.as_deref())?;
    // These two say what there is to say on standard output.
    if !matches!(cli.command, Some(Command::Doctor | Command::Health)) {
        telemetry::init_logs(&config.log)?;
    }
    match cli.command.unwrap_or(Command::Serve) {
        Command::Serve => serve(config).await,
        Command::Worker => {
            let app = App::build_worker(config, Clock::system()).await?;
            println!("minimall {} works as {}.", env!("CARGO_PKG_VERSION"), app.ctx.config.bus.node_name);
            app.serve(stop_signal()).await?;
            Ok(true)
        }
        Command::Migrate => {
            App::context(config, Clock::system()).await?.db.migrate().await?;
            println!("The database is up to date.");
            Ok(true)
        }
        Command::Openapi { check } => openapi(config, check).await,
        Command::Sandbox => serve_sandbox(config).await,
        Command::Demo => {
            let ctx = App::context(config, Clock::system()).await?;
            ctx.db.migrate().await?;
            let seeded = demo::seed(&ctx).await?;
            println!(
                "{}",
                if seeded {
                    "The shop is filled."
                } else {
                    "The shop was filled before; nothing was changed."
                }
            );
            Ok(true)
        }
        Command::StaffPassword { user_name } => {
            let ctx = App::context(config, Clock::system()).await?;
            ctx.db.migrate().await?;
            let password = staff::reset_password(&ctx, &user_name).await?;
            println!("The password of {user_name:?} is {password:?}: told once, change it.");
            Ok(true)
        }
        Command::Check => check(config).await,
        Command::Health => doctor::health(&config).await,
        Command::Doctor => doctor::run(config).await,
    }
}

async fn serve(config: Config) -> Result<bool> {
    let sandbox_mode = config.wechat.mode == WechatMode::Sandbox && config.mode == Mode::Development;
    let app = App::build(config, Clock::system()).await?;
    if sandbox_mode {
        demo::seed(&app.ctx).await?;
    }
    welcome(&app);
    app.serve(stop_signal()).await?;
    Ok(true)
}

/// A few lines for the person who started it. A fresh password is told here and nowhere else.
fn welcome(app: &App) {
    let url = &app.url;
    println!("minimall {} is ready.", env!("CARGO_PKG_VERSION"));
    println!("  API      {url}/api/v1");
    println!("  Docs     {url}/docs  and  {url}/docs/admin");
    if let Some(sandbox) = &app.sandbox {
        println!("  Sandbox  {}  plays the phone, WeChat and WeChat Pay", sandbox.url());
        println!("  Sign in  POST {url}/api/v1/sessions {{\"code\": \"demo:alice\"}}");
    }
    match &app.first_account {
        Some(first) => match &first.password {
            Some(password) => {
                println!("  Admin    user {:?}, password {password:?}: told once, change it", first.user_name)
            }
            None => println!("  Admin    user {:?} with the configured password", first.user_name),
        },
        None => println!("  Admin    POST {url}/admin/v1/sessions with the account of the first start"),
    }
}

async fn serve_sandbox(config: Config) -> Result<bool> {
    if let Some(folder) = std::path::Path::new(&config.sandbox.database).parent() {
        std::fs::create_dir_all(folder).map_err(|e| Failure::internal("making the sandbox's folder", e))?;
    }
    let shop_url = Some(config.server.public_url.clone()).filter(|url| !url.is_empty());
    let push_url = shop_url.as_ref().map(|url| format!("{url}/callbacks/wechat/messages"));
    let sandbox = Sandbox::start(sandbox::Options {
        listen: config.sandbox.listen,
        database: config.sandbox.database,
        clock: Clock::system(),
        clock_is_shared: false,
        shop_url,
        push_url,
    })
    .await?;
    println!("The sandbox plays WeChat and WeChat Pay at {}", sandbox.url());
    println!("Its demo keys, for any WeChat Pay SDK: {}/sandbox/keys", sandbox.url());
    tokio::select! {
        () = sandbox.run() => {}
        _ = stop_signal() => {}
    }
    sandbox.stop().await;
    Ok(true)
}

async fn openapi(mut config: Config, check: bool) -> Result<bool> {
    // Only the code decides what is in the documents: nothing is bound for good, nothing is kept.
    config.server.listen = "127.0.0.1:0".to_owned();
    config.sandbox.listen = "127.0.0.1:0".to_owned();
    config.sandbox.database = ":memory:".to_owned();
    let folder = std::env::temp_dir().join(format!("minimall-openapi-{}", std::process::id()));
    config.database.url = format!("sqlite:{}", folder.join("empty.sqlite").display());
    config.admin.initial_password = "only-for-the-documents".to_owned();
    let app = App::build(config, Clock::system()).await?;
    let documents = routes::documents(&app.surface);
    app.ctx.db.close().await;
    let _ = std::fs::remove_dir_all(&folder);
    let mut same = true;
    for (path, text) in [("openapi/app.json", &documents.app), ("openapi/admin.json", &documents.admin)] {
        if check {
            let there = std::fs::read_to_string(path).unwrap_or_default();
            if there != *text {
                same = false;
                eprintln!("{path} differs from the code; run `minimall openapi`");
            }
        } else {
            std::fs::create_dir_all("openapi").map_err(|e| Failure::internal("making openapi/", e))?;
            std::fs::write(path, text).map_err(|e| Failure::internal(format!("writing {path}"), e))?;
            println!("{path}");
        }
    }
    Ok(same)
}

async fn check(config: Config) -> Result<bool> {
    let ctx = App::context(config, Clock::system()).await?;
    if !ctx.db.is_migrated().await {
        let advice = "it has not the tables of this version; run `minimall migrate` first";
        return Err(Failure::internal(format!("checking {}", ctx.config.database.shown_url()), advice));
    }
    let report = checks::run(&ctx).await?;
    for finding in &report.findings {
        println!("{:>5}  {}", finding.violations.len(), finding.rule);
        for id in &finding.violations {
            println!("       {id}");
        }
    }
    for (what, count) in &report.waiting {
        println!("{count:>5}  waiting: {what}");
    }
    let violated = report.violations().count();
    println!("{} rules, {violated} violated", report.findings.len());
    Ok(violated == 0)
}

/// Ctrl-C, or SIGTERM.
async fn stop_signal() -> Stop {
    let interrupt = tokio::signal::ctrl_c();
    let terminate = async {
        match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
            Ok(mut signal) => {
                signal.recv().await;
            }
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = interrupt => Stop::Now,
        () = terminate => Stop::InTurn,
    }
}
