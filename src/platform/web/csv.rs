//! Files of comma-separated values as bodies: bounded bytes, in whatever encoding a spreadsheet wrote them.

use std::marker::PhantomData;

use poem::{Request, RequestBody};
use poem_openapi::registry::{MetaMediaType, MetaRequest, MetaSchema, MetaSchemaRef, Registry};
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};

use super::{Problem, raw_body};
use crate::kernel::{Failure, common};
use crate::platform::ctx::Ctx;

/// What such a file is called; the second by browsers on Windows where a spreadsheet program is installed.
const TYPES: [&str; 2] = ["text/csv", "application/vnd.ms-excel"];

/// What such a file looks like.
pub trait CsvExample {
    const EXAMPLE: &'static str;
}

/// A body of `text/csv` that looks like `E`, whichever of its names it comes under.
pub struct Csv<E> {
    bytes: Vec<u8>,
    shape: PhantomData<fn() -> E>,
}

impl<E> Csv<E> {
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl<'a, E: CsvExample> ApiExtractor<'a> for Csv<E> {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];
    type ParamType = ();
    type ParamRawType = ();

    fn register(_: &mut Registry) {}

    fn request_meta() -> Option<MetaRequest> {
        let mut schema = MetaSchema::new("string");
        schema.example = Some(E::EXAMPLE.into());
        let schema = MetaSchemaRef::Inline(Box::new(schema));
        Some(MetaRequest {
            description: None,
            content: vec![MetaMediaType { content_type: "text/csv", schema }],
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
            let is_csv = request.content_type().is_some_and(|kind| {
                let kind = kind.split(';').next().unwrap_or_default().trim();
                TYPES.iter().any(|one| kind.eq_ignore_ascii_case(one))
            });
            if !is_csv {
                return Err(Failure::new(&common::MEDIA_TYPE).detail("Send `Content-Type: text/csv`."));
            }
            Ok(Self { bytes: raw_body(ctx, body).await?, shape: PhantomData })
        };
        read.await.map_err(|failure| Problem(failure).into())
    }
}
