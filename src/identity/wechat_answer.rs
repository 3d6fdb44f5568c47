//! What WeChat's refusals mean for a client.

use super::{
    LOGIN_BLOCKED, LOGIN_CODE_INVALID, PHONE_CODE_INVALID, WECHAT_LIMIT, WECHAT_SETUP, WECHAT_UNAVAILABLE,
};
use crate::kernel::{Code, Failure};
use crate::platform::alerts;
use crate::platform::ctx::Ctx;
use crate::wechat::mini::MiniError;

/// "Code been used": what WeChat says of a login code in practice, beside the documented 40029.
const CODE_USED: i64 = 40163;
const MINUTE_LIMIT: i64 = 45011;
const DAY_QUOTA: i64 = 45009;

/// A refusal of code2session.
pub async fn of_login(ctx: &Ctx, appid: &str, error: MiniError) -> Failure {
    failure(ctx, appid, &LOGIN_CODE_INVALID, error).await
}

/// A refusal of getuserphonenumber.
pub async fn of_phone(ctx: &Ctx, appid: &str, error: MiniError) -> Failure {
    failure(ctx, appid, &PHONE_CODE_INVALID, error).await
}

async fn failure(ctx: &Ctx, appid: &str, code_invalid: &'static Code, error: MiniError) -> Failure {
    let (code, retry_after_s) = meaning(code_invalid, &error);
    if code == &WECHAT_SETUP {
        alert(ctx, appid, &error).await;
    }
    let failure = Failure::new(code).cause(error);
    match retry_after_s {
        Some(seconds) => failure.retry_after_s(seconds),
        None => failure,
    }
}

/// The code that a client sees, and after how many seconds it may try again.
fn meaning(code_invalid: &'static Code, error: &MiniError) -> (&'static Code, Option<u32>) {
    match error.errcode() {
        Some(CODE_USED) => (code_invalid, None),
        Some(MINUTE_LIMIT) => (&WECHAT_LIMIT, Some(60)),
        Some(DAY_QUOTA) => (&WECHAT_UNAVAILABLE, Some(600)),
        _ if error.is_code_invalid() => (code_invalid, None),
        _ if error.is_user_blocked() => (&LOGIN_BLOCKED, None),
        // A secret that was changed makes fresh access tokens fail, too.
        _ if error.is_setup() || error.is_token_refused() => (&WECHAT_SETUP, Some(60)),
        _ => (&WECHAT_UNAVAILABLE, Some(2)),
    }
}

/// Nobody can log in until the operator acts, so a person has to see it.
async fn alert(ctx: &Ctx, appid: &str, error: &MiniError) {
    let detail = &error.to_string();
    let opened = ctx
        .db
        .write(|tx| Box::pin(async move { alerts::open(tx, ctx, "wechat_setup", appid, detail).await }));
    if let Err(failure) = opened.await {
        tracing::error!("an alert could not be opened: {failure}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wechat::Cause;

    fn code_of(errcode: i64) -> (&'static str, Option<u32>) {
        let error = MiniError::Answer { errcode, errmsg: String::new() };
        let (code, retry_after_s) = meaning(&LOGIN_CODE_INVALID, &error);
        (code.code, retry_after_s)
    }

    #[test]
    fn every_documented_errcode_of_login_has_its_own_meaning() {
        for used in [40029, 40163, 41008] {
            assert_eq!(code_of(used), ("login_code_invalid", None));
        }
        assert_eq!(code_of(40226), ("login_blocked", None));
        assert_eq!(code_of(45011), ("wechat_limit", Some(60)));
        assert_eq!(code_of(45009), ("wechat_unavailable", Some(600)));
        assert_eq!(code_of(-1), ("wechat_unavailable", Some(2)));
        assert_eq!(code_of(987_654), ("wechat_unavailable", Some(2)));
        for ours in [40013, 40125, 40164, 41002, 41004, 40001] {
            assert_eq!(code_of(ours), ("wechat_setup", Some(60)));
        }
        let hanging = MiniError::Unreachable(Cause::Timeout);
        assert_eq!(meaning(&PHONE_CODE_INVALID, &hanging).0.code, "wechat_unavailable");
        let used = MiniError::Answer { errcode: 40029, errmsg: String::new() };
        assert_eq!(meaning(&PHONE_CODE_INVALID, &used).0.code, "phone_code_invalid");
    }
}
