//! Answers that are a picture.

use bytes::Bytes;
use poem::http::header;
use poem::{IntoResponse, Response};
use poem_openapi::ApiResponse;
use poem_openapi::payload::{Binary, Payload};
use poem_openapi::registry::{MetaMediaType, MetaResponse, MetaResponses, Registry};

/// A JPEG or PNG.
pub struct Picture {
    content_type: String,
    bytes: Bytes,
    cache: &'static str,
}

impl Picture {
    /// One that whoever asked may keep for a day.
    pub fn kept_a_day(content_type: impl Into<String>, bytes: Vec<u8>) -> Self {
        Self { content_type: content_type.into(), bytes: bytes.into(), cache: "private, max-age=86400" }
    }

    /// A JPEG that nobody keeps: it shows a secret.
    pub fn secret(jpeg: Vec<u8>) -> Self {
        Self { content_type: "image/jpeg".to_owned(), bytes: jpeg.into(), cache: "no-store" }
    }
}

impl IntoResponse for Picture {
    fn into_response(self) -> Response {
        Response::builder()
            .header(header::CONTENT_TYPE, self.content_type)
            .header(header::CACHE_CONTROL, self.cache)
            .body(self.bytes)
    }
}

impl ApiResponse for Picture {
    fn meta() -> MetaResponses {
        let media =
            |content_type| MetaMediaType { content_type, schema: <Binary<Vec<u8>> as Payload>::schema_ref() };
        MetaResponses {
            responses: vec![MetaResponse {
                description: "The image",
                status: Some(200),
                status_range: None,
                content: vec![media("image/jpeg"), media("image/png")],
                headers: vec![],
            }],
        }
    }

    fn register(_registry: &mut Registry) {}
}
