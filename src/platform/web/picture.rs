//! Pictures over HTTP: a bounded JPEG or PNG as a body, and as an answer.

use bytes::Bytes;
use poem::http::header;
use poem::{IntoResponse, Request, RequestBody, Response};
use poem_openapi::payload::{Binary, Payload};
use poem_openapi::registry::{MetaMediaType, MetaRequest, MetaResponse, MetaResponses, Registry};
use poem_openapi::{ApiExtractor, ApiExtractorType, ApiResponse, ExtractParamOptions};

use super::{Problem, body};
use crate::kernel::{Failure, codes};

codes! {
    NOT_A_PICTURE: 415 "not_a_picture" "Send the bytes of a JPEG or PNG, with `Content-Type: image/jpeg` or `image/png`.";
}

/// Bytes of a picture that is taken.
pub const PICTURE_BYTES_MAX: usize = 512 * 1024;

const JPEG: &str = "image/jpeg";
const PNG: &str = "image/png";

/// A JPEG or PNG.
pub struct Picture {
    pub media_type: String,
    pub bytes: Vec<u8>,
    cache: &'static str,
}

impl Picture {
    /// One that whoever asked may keep for a day.
    pub fn kept_a_day(media_type: impl Into<String>, bytes: Vec<u8>) -> Self {
        Self { media_type: media_type.into(), bytes, cache: "private, max-age=86400" }
    }

    /// A JPEG that nobody keeps: it shows a secret.
    pub fn secret(jpeg: Vec<u8>) -> Self {
        Self { media_type: JPEG.to_owned(), bytes: jpeg, cache: "no-store" }
    }
}

/// What the first bytes say; a name or a header says nothing.
fn media_type(bytes: &[u8]) -> Option<&'static str> {
    if bytes.starts_with(&[0xFF, 0xD8, 0xFF]) {
        Some(JPEG)
    } else if bytes.starts_with(b"\x89PNG\r\n\x1A\n") {
        Some(PNG)
    } else {
        None
    }
}

impl IntoResponse for Picture {
    fn into_response(self) -> Response {
        Response::builder()
            .header(header::CONTENT_TYPE, self.media_type)
            .header(header::CACHE_CONTROL, self.cache)
            .header(header::X_CONTENT_TYPE_OPTIONS, "nosniff")
            .body(Bytes::from(self.bytes))
    }
}

fn media() -> Vec<MetaMediaType> {
    let schema = <Binary<Vec<u8>> as Payload>::schema_ref;
    [JPEG, PNG].map(|content_type| MetaMediaType { content_type, schema: schema() }).into()
}

impl ApiResponse for Picture {
    fn meta() -> MetaResponses {
        MetaResponses {
            responses: vec![MetaResponse {
                description: "The image",
                status: Some(200),
                status_range: None,
                content: media(),
                headers: vec![],
            }],
        }
    }

    fn register(_registry: &mut Registry) {}
}

/// A body that is a picture of at most 512 KiB.
pub struct PictureBody(pub Picture);

impl<'a> ApiExtractor<'a> for PictureBody {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];
    type ParamType = ();
    type ParamRawType = ();

    fn request_meta() -> Option<MetaRequest> {
        Some(MetaRequest {
            description: Some("JPEG or PNG, at most 512 KiB"),
            content: media(),
            required: true,
        })
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        _options: ExtractParamOptions<()>,
    ) -> poem::Result<Self> {
        let read = async {
            let kind = request.content_type().unwrap_or_default();
            if ![JPEG, PNG].contains(&kind) {
                return Err(Failure::new(&NOT_A_PICTURE));
            }
            let bytes = body::bounded(body, PICTURE_BYTES_MAX).await?;
            let media_type = media_type(&bytes).ok_or_else(|| Failure::new(&NOT_A_PICTURE))?;
            Ok(Self(Picture::kept_a_day(media_type, bytes)))
        };
        read.await.map_err(|failure| Problem(failure).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bytes_say_what_it_is() {
        assert_eq!(media_type(b"\xFF\xD8\xFF\xE0rest"), Some(JPEG));
        assert_eq!(media_type(b"\x89PNG\r\n\x1A\nrest"), Some(PNG));
        for other in [&b""[..], b"GIF89a", b"<svg>", b"\xFF\xD8", b"%PDF-1.7"] {
            assert_eq!(media_type(other), None, "{other:?}");
        }
    }
}
