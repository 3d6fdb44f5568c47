//! Who sends an admin request, and may they? The one place that every operation of the admin passes.

use poem::Request;
use poem_openapi::SecurityScheme;
use poem_openapi::auth::Bearer;

use super::{Gate, StaffMember, StoreScope, roles, sql};
use crate::kernel::{Actor, Failure, Result, common};
use crate::platform::ctx::Ctx;
use crate::platform::secrets::token_hash;
use crate::platform::web::Problem;

/// The token of `POST /admin/v1/sessions`.
#[derive(SecurityScheme)]
#[oai(ty = "bearer", rename = "StaffToken", checker = "check")]
pub struct StaffAuth(pub StaffMember);

impl StaffAuth {
    pub fn actor(&self) -> Actor {
        self.0.actor()
    }

    /// May the member call this operation, too?
    pub fn may(&self, operation: &str) -> bool {
        roles::permission_of(operation).is_some_and(|permission| permission.roles().contains(&self.0.role))
    }

    /// The stores that lists are narrowed to.
    pub fn scope(&self) -> &StoreScope {
        &self.0.scope
    }
}

async fn check(request: &Request, bearer: Bearer) -> poem::Result<StaffMember> {
    let member = async {
        let ctx: &Ctx = request
            .data()
            .ok_or_else(|| Failure::internal("checking a staff token", "no context in the request"))?;
        let gate: &Gate = request
            .data()
            .ok_or_else(|| Failure::internal("checking a staff token", "no gate in the request"))?;
        let member = of_token(ctx, &bearer.token).await?;
        gate.check(ctx, request, &member).await?;
        Ok(member)
    };
    member.await.map_err(|failure| Problem(failure).into())
}

async fn of_token(ctx: &Ctx, token: &str) -> Result<StaffMember> {
    let mut conn = ctx.db.reader().await?;
    sql::sessions::member_of_token(&mut conn, &token_hash(token), ctx.clock.now_ms())
        .await?
        .ok_or_else(|| Failure::new(&common::UNAUTHENTICATED))
}
