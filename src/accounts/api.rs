//! The app's operations on the signed-in person.

use poem_openapi::param::Header;
use poem_openapi::payload::Json;
use poem_openapi::types::Example;
use poem_openapi::{Object, OpenApi};

use crate::identity::{self, LeavingAuth, ProfileChange, User, UserAuth};
use crate::platform::ctx::Ctx;
use crate::platform::idempotency::Key;
use crate::platform::web::{Body, NoContent, Reply, Tag};
use crate::wechat::mini::Mini;

pub struct AccountsApi {
    pub ctx: Ctx,
    pub mini: Mini,
}

/// A change of the profile; what is absent stays.
#[derive(Object)]
#[oai(example)]
pub struct ProfileUpdate {
    /// 1 to 20 characters.
    #[oai(validator(min_length = 1, max_length = 20))]
    nickname: Option<String>,
    /// An https URL.
    #[oai(validator(max_length = 512, pattern = "^https://"))]
    avatar: Option<String>,
}

impl Example for ProfileUpdate {
    fn example() -> Self {
        Self {
            nickname: Some("小林".to_owned()),
            avatar: Some("https://thirdwx.qlogo.cn/mmopen/vi_32/demo/132".to_owned()),
        }
    }
}

/// A code of the getPhoneNumber button.
#[derive(Object)]
#[oai(example)]
pub struct PhoneCode {
    /// It works once and for 5 minutes, and is not the code of `wx.login`.
    #[oai(validator(min_length = 1, max_length = 128))]
    code: String,
}

impl Example for PhoneCode {
    fn example() -> Self {
        Self { code: "demo-phone:13800138000".to_owned() }
    }
}

#[OpenApi(prefix_path = "/api/v1")]
impl AccountsApi {
    /// Who am I
    ///
    /// The person of the token, with a masked phone number. Changes nothing.
    ///
    /// Errors: `unauthenticated`.
    #[oai(path = "/me", method = "get", operation_id = "getMe", tag = "Tag::Me")]
    async fn me(&self, auth: UserAuth) -> Reply<Json<User>> {
        Ok(Json(identity::me(&self.ctx, &auth.0.user_id).await?.into()))
    }

    /// Change my name or picture
    ///
    /// Sets the members that are sent; the others stay.
    ///
    /// Errors: `unauthenticated`, `invalid_request`.
    #[oai(path = "/me", method = "patch", operation_id = "updateMe", tag = "Tag::Me")]
    async fn update(&self, auth: UserAuth, body: Body<ProfileUpdate>) -> Reply<Json<User>> {
        let body = body.into_inner();
        let change = ProfileChange { nickname: body.nickname, avatar: body.avatar };
        Ok(Json(identity::update_profile(&self.ctx, &auth.0.user_id, &change).await?.into()))
    }

    /// Set my phone number
    ///
    /// Exchanges the code of the getPhoneNumber button at WeChat and stores the number, encrypted. Setting it
    /// again replaces it.
    ///
    /// Errors: `unauthenticated`, `phone_code_invalid`, `phone_not_supported`, `wechat_limit`,
    /// `wechat_unavailable`, `wechat_setup`.
    #[oai(path = "/me/phone", method = "put", operation_id = "setMyPhone", tag = "Tag::Me")]
    async fn set_phone(&self, auth: UserAuth, body: Body<PhoneCode>) -> Reply<Json<User>> {
        let user = identity::set_phone(&self.ctx, &self.mini, &auth.0.user_id, &body.code).await?;
        Ok(Json(user.into()))
    }

    /// Delete my account
    ///
    /// Only when nothing of yours is open: an order counts until its after-sale window is over. Then name, picture,
    /// phone number, addresses, carts, notices, permissions, what you wrote and photographed for refunds, and the
    /// addresses and notes of your orders are forgotten; unused coupons are void; every device is signed out. What
    /// was ordered, paid and refunded stays in the books, with nothing that says who you are. It can't be undone.
    /// Who signs in again with the same WeChat account is a new customer, without the coupon of new customers. The
    /// same `Idempotency-Key` again, with the same token, answers the same. A refusal names the orders, payments,
    /// refunds and shipments that are not over, up to 20 each.
    ///
    /// Errors: `unauthenticated`, `account_in_use`.
    #[oai(path = "/me", method = "delete", operation_id = "deleteAccount", tag = "Tag::Me")]
    async fn delete(
        &self,
        auth: LeavingAuth,
        #[oai(name = "Idempotency-Key", validator(min_length = 1, max_length = 128))] key: Header<String>,
    ) -> Reply<NoContent> {
        let key = Key::new(&auth.0.actor(), "deleteAccount", &key, &())?;
        super::delete(&self.ctx, &auth.0.user_id, &key).await?;
        Ok(NoContent::Done)
    }
}
