//! JSON bodies: bounded, and held against their schema so that an error names the field.

use std::any::TypeId;
use std::collections::HashMap;
use std::ops::Deref;
use std::sync::{Arc, LazyLock, RwLock};

use poem::{Request, RequestBody};
use poem_openapi::registry::{MetaMediaType, MetaRequest, Registry};
use poem_openapi::types::{ParseFromJSON, Type};
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};
use serde_json::Value;

use super::{Problem, schema};
use crate::kernel::{Failure, Result, common};
use crate::platform::ctx::Ctx;

/// A JSON body of type `T`. What need not be sent is left out; null is no value of it.
pub struct Body<T> {
    value: T,
    raw: Value,
}

impl<T> Body<T> {
    /// The body as it was sent, for idempotency keys.
    pub fn raw(&self) -> &Value {
        &self.raw
    }

    pub fn into_inner(self) -> T {
        self.value
    }
}

impl<T> Deref for Body<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.value
    }
}

/// Reads a body of at most `server.body_limit_kib`.
///
/// # Errors
/// `body_too_large`, or the connection broke.
pub async fn raw_body(ctx: &Ctx, body: &mut RequestBody) -> Result<Vec<u8>> {
    bounded(body, ctx.config.server.body_limit_kib * 1024).await
}

/// Reads a body of at most `limit` bytes.
pub(super) async fn bounded(body: &mut RequestBody, limit: usize) -> Result<Vec<u8>> {
    let body = body.take().map_err(|e| Failure::internal("reading the body", e.to_string()))?;
    match body.into_bytes_limit(limit).await {
        Ok(bytes) => Ok(bytes.to_vec()),
        Err(poem::error::ReadBodyError::PayloadTooLarge) => Err(Failure::new(&common::TOO_LARGE)
            .detail(format!("The body may have at most {} KiB.", limit / 1024))),
        Err(error) => Err(Failure::new(&common::MALFORMED).detail("The body broke off.").cause(error)),
    }
}

/// The schemas that `T` uses, collected once.
fn registry_of<T: Type + 'static>() -> Arc<Registry> {
    static KNOWN: LazyLock<RwLock<HashMap<TypeId, Arc<Registry>>>> = LazyLock::new(RwLock::default);
    let id = TypeId::of::<T>();
    if let Ok(known) = KNOWN.read()
        && let Some(registry) = known.get(&id)
    {
        return registry.clone();
    }
    let mut registry = Registry::new();
    T::register(&mut registry);
    let registry = Arc::new(registry);
    if let Ok(mut known) = KNOWN.write() {
        known.insert(id, registry.clone());
    }
    registry
}

fn parse<T: ParseFromJSON + 'static>(bytes: &[u8]) -> Result<Body<T>> {
    let raw: Value = serde_json::from_slice(bytes).map_err(|e| {
        Failure::new(&common::MALFORMED).detail(format!(
            "The body is not valid JSON: line {}, column {}.",
            e.line(),
            e.column()
        ))
    })?;
    schema::check(&raw, &T::schema_ref(), &registry_of::<T>())
        .map_err(|misfit| Failure::invalid(misfit.pointer, misfit.detail))?;
    let value = T::parse_from_json(Some(raw.clone())).map_err(|e| Failure::invalid("", e.into_message()))?;
    Ok(Body { value, raw })
}

impl<'a, T: ParseFromJSON + 'static> ApiExtractor<'a> for Body<T> {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];
    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        T::register(registry);
    }

    fn request_meta() -> Option<MetaRequest> {
        Some(MetaRequest {
            description: None,
            content: vec![MetaMediaType { content_type: "application/json", schema: T::schema_ref() }],
            required: true,
        })
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        _options: ExtractParamOptions<()>,
    ) -> poem::Result<Self> {
        let read = async {
            let ctx: &Ctx = request
                .data()
                .ok_or_else(|| Failure::internal("reading a body", "no context in the request"))?;
            let is_json = request.content_type().is_some_and(|kind| {
                let kind = kind.split(';').next().unwrap_or_default().trim();
                kind.eq_ignore_ascii_case("application/json")
            });
            if !is_json {
                return Err(Failure::new(&common::MEDIA_TYPE));
            }
            parse(&raw_body(ctx, body).await?)
        };
        read.await.map_err(|failure| Problem(failure).into())
    }
}
