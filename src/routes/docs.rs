//! The docs: Swagger UI from our own binary, the documents, and the catalogue of error codes.

use std::sync::{Arc, OnceLock};

use poem::endpoint::make_sync;
use poem::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use poem::{Endpoint, Response, Route, get};
use poem_openapi::OpenApiService;

use super::{Documents, Surface};
use crate::kernel::Code;

const PAGE: &str = include_str!("docs.html");
const JOIN_PAGE: &str = include_str!("join.html");
const ERRORS_PAGE: &str = include_str!("errors.html");

/// Swagger UI's own files, cut out of the page that poem-openapi carries.
struct Assets {
    script: String,
    style: String,
}

fn assets() -> &'static Assets {
    static ASSETS: OnceLock<Assets> = OnceLock::new();
    ASSETS.get_or_init(|| {
        let page = OpenApiService::new((), "", "").swagger_ui_html();
        let between = |from: &str, to: &str| {
            let rest = page.split_once(from).map_or("", |(_, rest)| rest);
            rest.split_once(to).map_or("", |(inner, _)| inner).to_owned()
        };
        Assets {
            style: between("<style charset=\"UTF-8\">", "</style>"),
            script: between("<script charset=\"UTF-8\">", "</script>\n</head>"),
        }
    })
}

fn serve(
    content_type: &'static str,
    cache: &'static str,
    body: String,
) -> impl Endpoint<Output = Response> + use<> {
    let body: Arc<str> = body.into();
    make_sync(move |_| answer(content_type, cache, body.to_string()))
}

fn answer(content_type: &'static str, cache: &'static str, body: String) -> Response {
    Response::builder().header(CONTENT_TYPE, content_type).header(CACHE_CONTROL, cache).body(body)
}

const FRESH: &str = "no-cache";
const KEPT: &str = "public, max-age=86400";

/// `/docs`, `/docs/admin`, `/docs/join` (for who was invited), `/docs/errors`, `/openapi/*.json`.
pub fn routes(app: &Surface, documents: &Documents) -> Route {
    let phone = app.phone_origin.as_ref().map(|url| format!("<a href=\"{url}\">Sandbox phone</a>"));
    let phone = phone.unwrap_or_default();
    let page = |title: &str, document: &str| {
        PAGE.replace("{title}", title).replace("{document}", document).replace("{phone}", &phone)
    };
    Route::new()
        .at(
            "/docs",
            get(serve(
                "text/html; charset=utf-8",
                FRESH,
                page("minimall: mini-program", "/openapi/app.json"),
            )),
        )
        .at(
            "/docs/admin",
            get(serve(
                "text/html; charset=utf-8",
                FRESH,
                page("minimall: store management", "/openapi/admin.json"),
            )),
        )
        .at("/docs/join", get(serve("text/html; charset=utf-8", FRESH, JOIN_PAGE.to_owned())))
        .at("/docs/errors", get(serve("text/html; charset=utf-8", FRESH, errors_page(&app.ctx.codes))))
        .at(
            "/docs/swagger-ui.js",
            get(make_sync(|_| answer("text/javascript; charset=utf-8", KEPT, assets().script.clone()))),
        )
        .at(
            "/docs/swagger-ui.css",
            get(make_sync(|_| answer("text/css; charset=utf-8", KEPT, assets().style.clone()))),
        )
        .at("/openapi/app.json", get(serve("application/json", FRESH, documents.app.clone())))
        .at("/openapi/admin.json", get(serve("application/json", FRESH, documents.admin.clone())))
}

/// Every code that the program can answer, sorted.
fn errors_page(codes: &[&'static Code]) -> String {
    let mut codes: Vec<_> = codes.to_vec();
    codes.sort_by_key(|code| code.code);
    codes.dedup_by_key(|code| code.code);
    let escape = |text: &str| text.replace('&', "&amp;").replace('<', "&lt;").replace('`', "");
    let row = |code: &&Code| {
        format!(
            "<tr id=\"{name}\"><td><a href=\"#{name}\"><code>{name}</code></a></td><td>{status}</td><td>{text}</td></tr>\n",
            name = code.code,
            status = code.status,
            text = escape(code.detail),
        )
    };
    let rows: String = codes.iter().map(row).collect();
    ERRORS_PAGE.replace("{rows}", &rows)
}

#[cfg(test)]
mod tests {
    use super::assets;

    #[test]
    fn swagger_ui_is_found_in_the_library() {
        assert!(assets().script.contains("SwaggerUIBundle"));
        assert!(assets().style.contains(".swagger-ui"));
    }
}
