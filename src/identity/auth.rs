//! Who sends a request of the app.

use poem::Request;
use poem_openapi::SecurityScheme;
use poem_openapi::auth::Bearer;

use super::{Session, Sessions, sessions};
use crate::kernel::{Actor, Failure, common};
use crate::platform::ctx::Ctx;
use crate::platform::web::Problem;

/// The token of `POST /api/v1/sessions`.
#[derive(SecurityScheme)]
#[oai(ty = "bearer", rename = "UserToken", checker = "check")]
pub struct UserAuth(pub Session);

impl UserAuth {
    pub fn actor(&self) -> Actor {
        self.0.actor()
    }
}

/// The token of `POST /api/v1/sessions`.
// Also one that ended with its account: who repeats the request that deleted it is answered as the first time.
// Everything else that such a token asks for is refused by `identity::hold`.
#[derive(SecurityScheme)]
#[oai(ty = "bearer", rename = "UserToken", checker = "check_leaving")]
pub struct LeavingAuth(pub Session);

/// Needs [`Ctx`] and [`Sessions`] in the request's data.
async fn check(request: &Request, bearer: Bearer) -> poem::Result<Session> {
    find(request, &bearer.token, false).await
}

async fn check_leaving(request: &Request, bearer: Bearer) -> poem::Result<Session> {
    find(request, &bearer.token, true).await
}

async fn find(request: &Request, token: &str, or_deleted: bool) -> poem::Result<Session> {
    let session = async {
        let (Some(ctx), Some(sessions)) = (request.data::<Ctx>(), request.data::<Sessions>()) else {
            return Err(Failure::internal("checking a token", "no context or no sessions in the request"));
        };
        let session = match sessions.find(ctx, token).await? {
            None if or_deleted => sessions::ended_with_account(ctx, token).await?,
            found => found,
        };
        session.ok_or_else(|| Failure::new(&common::UNAUTHENTICATED))
    };
    session.await.map_err(|failure| Problem(failure).into())
}
