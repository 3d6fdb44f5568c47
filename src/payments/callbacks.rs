//! Callbacks of the channel: verify, store, answer; everything else is the inbox worker's. The signature
//! is the authority, there is no bearer token.

use poem::http::{StatusCode, header};
use poem::{Request, RequestBody, Response};
use serde_json::json;

use super::Channel;
use crate::kernel::{Failure, Result};
use crate::platform::ctx::Ctx;
use crate::platform::inbox;
use crate::platform::web::raw_body;

/// Takes a notice. 204 means that it is stored; anything else makes the channel send it again.
pub async fn receive(ctx: &Ctx, channel: &Channel, request: &Request, body: &mut RequestBody) -> Response {
    match store(ctx, channel, request, body).await {
        Ok(kind) => {
            ctx.metrics.outbound("callback", kind);
            Response::builder().status(StatusCode::NO_CONTENT).finish()
        }
        Err(failure) => {
            tracing::warn!("a callback was refused: {failure}");
            ctx.metrics.outbound("callback", failure.code().code);
            let status =
                StatusCode::from_u16(failure.code().status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            Response::builder()
                .status(status)
                .header(header::CONTENT_TYPE, "application/json")
                .body(json!({ "code": "FAIL", "message": failure.code().detail }).to_string())
        }
    }
}

async fn store(
    ctx: &Ctx,
    channel: &Channel,
    request: &Request,
    body: &mut RequestBody,
) -> Result<&'static str> {
    let body = raw_body(ctx, body).await?;
    let verified = channel.provider.parse_callback(request.headers(), &body)?;
    let source = channel.provider.kind().as_str().to_lowercase();
    let (source, verified) = (&source, &verified);
    ctx.db
        .write(|tx| {
            Box::pin(async move {
                // A second one of the same number is normal: the channel repeats until it is answered.
                inbox::store(tx, ctx, source, &verified.id, verified.kind, &verified.body).await?;
                Ok::<_, Failure>(())
            })
        })
        .await?;
    Ok(verified.kind)
}
