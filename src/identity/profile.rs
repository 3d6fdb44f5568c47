//! What people tell about themselves: name, picture, phone number.

use super::{UserSummary, login, sql};
use crate::kernel::{Failure, Result, UserId, common};
use crate::platform::ctx::Ctx;
use crate::wechat::mini::Mini;

const NICKNAME_MAX: usize = 20;
const AVATAR_MAX: usize = 512;

/// A change of the profile; what is absent stays.
pub struct ProfileChange {
    /// 1 to 20 characters.
    pub nickname: Option<String>,
    /// An https URL.
    pub avatar: Option<String>,
}

/// The signed-in person.
///
/// # Errors
/// `unauthenticated` when the account is deleted.
pub async fn me(ctx: &Ctx, user: &UserId) -> Result<UserSummary> {
    let found = sql::summary(&mut *ctx.db.reader().await?, user).await?;
    let found = found.filter(|user| user.deleted_ms.is_none());
    found.ok_or_else(|| Failure::new(&common::UNAUTHENTICATED))
}

/// Changes name and picture.
///
/// # Errors
/// `invalid_request` with the field.
pub async fn update_profile(ctx: &Ctx, user: &UserId, change: &ProfileChange) -> Result<UserSummary> {
    let nickname = change.nickname.as_deref().map(nickname).transpose()?;
    let avatar = change.avatar.as_deref().map(avatar).transpose()?;
    let (nickname, avatar) = (nickname.as_deref(), avatar.as_deref());
    ctx.db.write(|tx| Box::pin(async move { sql::set_profile(tx, user, nickname, avatar).await })).await?;
    me(ctx, user).await
}

/// Sets the phone number that WeChat hands out for a code of the getPhoneNumber button.
///
/// # Errors
/// `phone_code_invalid`, `phone_not_supported`, `wechat_limit`, `wechat_unavailable`, `wechat_setup`.
pub async fn set_phone(ctx: &Ctx, mini: &Mini, user: &UserId, code: &str) -> Result<UserSummary> {
    let phone = login::phone_of_code(ctx, mini, code).await?;
    let phone = &phone;
    ctx.db.write(|tx| Box::pin(async move { sql::set_phone(tx, user, phone).await })).await?;
    me(ctx, user).await
}

/// Without white space at its ends, without control characters, at most 20 characters.
fn nickname(text: &str) -> Result<String> {
    let text = text.trim();
    if !(1..=NICKNAME_MAX).contains(&text.chars().count()) {
        return Err(Failure::invalid("/nickname", "must have 1 to 20 characters beside white space"));
    }
    if text.chars().any(char::is_control) {
        return Err(Failure::invalid("/nickname", "must not contain control characters"));
    }
    Ok(text.to_owned())
}

/// An https URL of a host without user and password.
fn avatar(text: &str) -> Result<String> {
    let is_https = text.len() <= AVATAR_MAX
        && reqwest::Url::parse(text).is_ok_and(|url| {
            url.scheme() == "https" && url.has_host() && url.username().is_empty() && url.password().is_none()
        });
    if is_https { Ok(text.to_owned()) } else { Err(Failure::invalid("/avatar", "must be an https URL")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nicknames_are_trimmed_and_bounded_by_characters() {
        assert_eq!(nickname("  小林 ").unwrap(), "小林");
        assert!(nickname(&"林".repeat(20)).is_ok());
        for bad in ["", "   ", "a\u{7}b", &"林".repeat(21)] {
            assert!(nickname(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn avatars_are_https_only() {
        assert!(avatar("https://thirdwx.qlogo.cn/mmopen/vi_32/1/132").is_ok());
        for bad in
            ["http://a.cn/1.png", "javascript:alert(1)", "https://", "https://u:p@a.cn/1", "//a.cn/1", ""]
        {
            assert!(avatar(bad).is_err(), "{bad}");
        }
    }
}
