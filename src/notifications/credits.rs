//! Credits: one permission that a person gave is one message. WeChat counts them itself; ours only say
//! when asking WeChat is worth it.

use super::sql;
use crate::config::Templates;
use crate::identity;
use crate::kernel::{Failure, Result, UserId};
use crate::platform::ctx::Ctx;

/// The mini-program reports which templates the person accepted: one credit for each.
///
/// # Errors
/// `invalid_request` when one is not a template of this mini-program.
pub async fn grant(ctx: &Ctx, user: &UserId, accepted: &[String]) -> Result<()> {
    let known = known(&ctx.config.wechat.templates);
    if let Some(index) = accepted.iter().position(|id| !known.contains(&id.as_str())) {
        return Err(Failure::invalid(
            format!("/template_ids/{index}"),
            "is no template that GET /subscribe-templates lists",
        ));
    }
    ctx.db
        .write(|tx| {
            Box::pin(async move {
                identity::hold(tx, user).await?;
                for template in accepted {
                    sql::add_credit(tx, user, template, ctx.clock.now_ms()).await?;
                }
                Ok(())
            })
        })
        .await
}

fn known(templates: &Templates) -> Vec<&str> {
    super::NoticeKind::ALL.iter().filter_map(|kind| kind.template(templates)).collect()
}
