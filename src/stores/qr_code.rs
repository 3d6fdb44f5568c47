//! The QR code that hangs in a store and opens the mini-program there.

use super::{QR_CODE_REFUSED, QR_CODE_UNAVAILABLE, not_found, sql};
use crate::kernel::{Failure, Result, StoreId};
use crate::platform::ctx::Ctx;
use crate::wechat::mini::{Image, Mini};

/// WeChat draws the code with the store's scene, `width` (280 to 1280) pixels wide.
///
/// # Errors
/// `store_not_found`, `qr_code_refused` with WeChat's `errcode`, `qr_code_unavailable`.
pub async fn qr_code(ctx: &Ctx, mini: &Mini, id: &StoreId, width: u32) -> Result<Image> {
    let store = sql::find(&mut *ctx.db.reader().await?, id).await?.ok_or_else(|| not_found(id))?;
    let wechat = &ctx.config.wechat;
    let page = Some(wechat.store_page.as_str()).filter(|page| !page.is_empty());
    let env_version = match wechat.miniprogram_state.as_str() {
        "developer" => "develop",
        "trial" => "trial",
        _ => "release",
    };
    mini.qr_code_unlimited(&store.scene, page, width, env_version).await.map_err(|error| {
        match error.errcode().filter(|_| !error.is_passing()) {
            Some(errcode) => Failure::new(&QR_CODE_REFUSED)
                .detail(format!("WeChat refused to draw the code: {error}"))
                .with("errcode", errcode.into()),
            None => Failure::new(&QR_CODE_UNAVAILABLE).retry_after_s(5).cause(error),
        }
    })
}
