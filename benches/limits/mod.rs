//! The limits that rows chase: the least that any program would have to do for the same answer.

mod hyper;
pub mod place_order;

use std::collections::HashMap;
use std::process::{Command, Stdio};
use std::time::Duration;

use tokio::time::sleep;

use crate::support::http::Connection;
use crate::support::shop::{Process, free_port};

/// Starts this program as a limit.
pub const COMMAND: &str = "limit";

/// What a limit answers: bodies by path and query, and the further headers of every answer.
#[derive(serde::Serialize, serde::Deserialize)]
pub struct Answers {
    pub headers: Vec<(String, String)>,
    pub bodies: HashMap<String, String>,
}

/// A bare server in a process of its own: with `redis`, it asks for every answer there, under its path behind `prefix`.
pub async fn start(file: &str, redis: Option<(&str, &str)>) -> Process {
    let port = free_port();
    let mut command = Command::new(std::env::current_exe().expect("our own path"));
    command.args([COMMAND, &port.to_string(), file]).stdin(Stdio::null()).stdout(Stdio::null());
    if let Some((url, prefix)) = redis {
        command.args([url, prefix]);
    }
    let child = command.spawn().expect("the limit starts");
    let process = Process::of(child, ([127, 0, 0, 1], port).into());
    for _ in 0..5_000 {
        if Connection::open(process.address).await.is_ok() {
            return process;
        }
        sleep(Duration::from_millis(1)).await;
    }
    panic!("the limit does not answer");
}

/// Serves until it is killed.
pub async fn serve(arguments: &[String]) {
    let [port, file, redis @ ..] = arguments else { panic!("limit PORT FILE [REDIS PREFIX]") };
    let text = std::fs::read(file).expect("the answers");
    let answers: Answers = serde_json::from_slice(&text).expect("the answers are JSON");
    let redis = match redis {
        [url, prefix] => Some((url.as_str(), prefix.as_str())),
        _ => None,
    };
    hyper::serve(port.parse().expect("a port"), answers, redis).await;
}
