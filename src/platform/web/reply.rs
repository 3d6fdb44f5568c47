//! Replies beside plain JSON: 201, 204, pages, and answers that are kept as bytes.

use std::marker::PhantomData;

use bytes::Bytes;
use poem::http::header;
use poem::{IntoResponse, Response};
use poem_openapi::payload::{Json, Payload};
use poem_openapi::registry::{MetaMediaType, MetaResponse, MetaResponses, Registry};
use poem_openapi::types::{ParseFromJSON, ToJSON, Type};
use poem_openapi::{ApiResponse, Object};

use crate::kernel::{Cursor, Page};
use crate::platform::idempotency::Done;

/// 200 for a write under an idempotency key.
#[derive(ApiResponse)]
pub enum Answer<T: ToJSON + Send + Sync> {
    /// Done.
    #[oai(status = 200)]
    Ok(
        Json<T>,
        /// `true` when this answers a repeated request.
        #[oai(header = "Idempotent-Replayed")]
        Option<bool>,
    ),
}

/// 201 for what was made.
#[derive(ApiResponse)]
pub enum Created<T: ToJSON + Send + Sync> {
    /// Made.
    #[oai(status = 201)]
    Created(
        Json<T>,
        /// `true` when this answers a repeated request.
        #[oai(header = "Idempotent-Replayed")]
        Option<bool>,
    ),
}

/// 204.
#[derive(ApiResponse)]
pub enum NoContent {
    /// Done; there is nothing to say.
    #[oai(status = 204)]
    Done,
}

/// The value of `Idempotent-Replayed`: absent unless it is a replay.
fn replayed<T>(done: &Done<T>) -> Option<bool> {
    done.replayed.then_some(true)
}

impl<T: ToJSON + Send + Sync> Answer<T> {
    /// The answer to a write whose outcome was `done`.
    pub fn of<U>(value: T, done: &Done<U>) -> Self {
        Self::Ok(Json(value), replayed(done))
    }
}

impl<T: ToJSON + Send + Sync> Created<T> {
    pub fn new(value: T) -> Self {
        Self::Created(Json(value), None)
    }

    /// The answer to a write whose outcome was `done`.
    pub fn of<U>(value: T, done: &Done<U>) -> Self {
        Self::Created(Json(value), replayed(done))
    }
}

/// A page of a list.
#[derive(Object)]
pub struct List<T: ParseFromJSON + ToJSON + Send + Sync> {
    pub items: Vec<T>,
    /// Give it back as `cursor` for the next page; absent on the last one.
    #[oai(skip_serializing_if_is_none)]
    pub next_cursor: Option<Cursor>,
}

impl<T: ParseFromJSON + ToJSON + Send + Sync> List<T> {
    /// A page as the API shows it.
    pub fn from_page<U>(page: Page<U>, show: impl FnMut(U) -> T) -> Json<Self> {
        let page = page.map(show);
        Json(Self { items: page.items, next_cursor: page.next })
    }

    /// A list that is short by its nature.
    pub fn whole(items: Vec<T>) -> Json<Self> {
        Json(Self { items, next_cursor: None })
    }
}

/// JSON of `T` that was made before, as bytes.
pub struct CachedJson<T> {
    bytes: Bytes,
    shape: PhantomData<fn() -> T>,
}

impl<T> CachedJson<T> {
    pub fn new(bytes: Bytes) -> Self {
        Self { bytes, shape: PhantomData }
    }
}

impl<T> IntoResponse for CachedJson<T> {
    fn into_response(self) -> Response {
        Response::builder().header(header::CONTENT_TYPE, "application/json; charset=utf-8").body(self.bytes)
    }
}

impl<T: Type> ApiResponse for CachedJson<T> {
    fn meta() -> MetaResponses {
        MetaResponses {
            responses: vec![MetaResponse {
                description: "",
                status: Some(200),
                status_range: None,
                content: vec![MetaMediaType {
                    content_type: <Json<T> as Payload>::CONTENT_TYPE,
                    schema: T::schema_ref(),
                }],
                headers: vec![],
            }],
        }
    }

    fn register(registry: &mut Registry) {
        T::register(registry);
    }
}
