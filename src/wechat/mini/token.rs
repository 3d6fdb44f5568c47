//! The access token: one per process, fetched by one caller while the others wait.

use serde::Deserialize;
use serde_json::json;
use tokio::sync::Mutex;

use super::{Mini, MiniError};
use crate::kernel::{Clock, Millis, minute_ms};

/// WeChat hands out the next token this long before the old one ends; both work until then.
const OVERLAP_MS: Millis = minute_ms(5);
/// A forced token kills the one that other processes use, and WeChat gives 20 a day.
const FORCE_INTERVAL_MS: Millis = minute_ms(1);

#[derive(Default)]
pub(super) struct Tokens(Mutex<State>);

#[derive(Default)]
struct State {
    token: Option<Token>,
    forced_ms: Option<Millis>,
}

#[derive(Clone)]
struct Token {
    value: String,
    renew_ms: Millis,
    end_ms: Millis,
}

#[derive(Deserialize)]
struct Fetched {
    access_token: String,
    expires_in: i64,
}

impl Tokens {
    /// A token that should work. `refused` is one that WeChat has just refused: another one is fetched,
    /// unless some other caller already has.
    pub async fn get(&self, mini: &Mini, clock: &Clock, refused: Option<&str>) -> Result<String, MiniError> {
        let mut state = self.0.lock().await;
        let now_ms = clock.now_ms();
        let held = state.token.clone().filter(|token| Some(token.value.as_str()) != refused);
        if let Some(token) = &held
            && now_ms < token.renew_ms
        {
            return Ok(token.value.clone());
        }
        let fetched = match fetch(mini, clock, false).await {
            // WeChat believes in the token that it refuses: only force gets another one.
            Ok(token)
                if Some(token.value.as_str()) == refused
                    && state.forced_ms.is_none_or(|at| now_ms - at >= FORCE_INTERVAL_MS) =>
            {
                state.forced_ms = Some(now_ms);
                fetch(mini, clock, true).await
            }
            other => other,
        };
        match (fetched, held) {
            (Ok(token), _) => {
                state.token = Some(token.clone());
                Ok(token.value)
            }
            // Renewal is early on purpose: a failed one is no reason to stop while the old token works.
            (Err(_), Some(old)) if clock.now_ms() < old.end_ms => Ok(old.value),
            (Err(error), _) => Err(error),
        }
    }
}

async fn fetch(mini: &Mini, clock: &Clock, force: bool) -> Result<Token, MiniError> {
    let body = json!({
        "grant_type": "client_credential",
        "appid": mini.0.appid,
        "secret": mini.0.secret,
        "force_refresh": force,
    });
    let asked_ms = clock.now_ms();
    let url = mini.url(["cgi-bin", "stable_token"]);
    let fetched: Fetched = super::parse(mini.post(url, body.to_string()).await?)?;
    if fetched.access_token.is_empty() || fetched.expires_in <= 0 {
        return Err(MiniError::unreadable("no access token in it"));
    }
    let life_ms = fetched.expires_in.min(7_200) * 1_000;
    Ok(Token {
        value: fetched.access_token,
        // A token with less than the overlap left is used for half of it, not asked for again at every call.
        renew_ms: asked_ms + (life_ms - OVERLAP_MS).max(life_ms / 2),
        end_ms: asked_ms + life_ms,
    })
}
