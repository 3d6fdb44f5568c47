//! Who sends a request of the app.

use poem::Request;
use poem_openapi::SecurityScheme;
use poem_openapi::auth::Bearer;

use super::{Session, Sessions};
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

/// Needs [`Ctx`] and [`Sessions`] in the request's data.
async fn check(request: &Request, bearer: Bearer) -> poem::Result<Session> {
    let session = async {
        let (Some(ctx), Some(sessions)) = (request.data::<Ctx>(), request.data::<Sessions>()) else {
            return Err(Failure::internal("checking a token", "no context or no sessions in the request"));
        };
        let session = sessions.find(ctx, &bearer.token).await?;
        session.ok_or_else(|| Failure::new(&common::UNAUTHENTICATED))
    };
    session.await.map_err(|failure| Problem(failure).into())
}
