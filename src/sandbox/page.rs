//! The page that plays the phone and shows the channel's side: a few files, compiled in.

use poem::endpoint::make_sync;
use poem::http::StatusCode;
use poem::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use poem::{Endpoint, Request, Response};

const INDEX: &str = include_str!("page/index.html");

const FILES: [(&str, &str); 10] = [
    ("style.css", include_str!("page/style.css")),
    ("main.js", include_str!("page/main.js")),
    ("view.js", include_str!("page/view.js")),
    ("tools.js", include_str!("page/tools.js")),
    ("shop.js", include_str!("page/shop.js")),
    ("words.js", include_str!("page/words.js")),
    ("screens.js", include_str!("page/screens.js")),
    ("order.js", include_str!("page/order.js")),
    ("actions.js", include_str!("page/actions.js")),
    ("channel.js", include_str!("page/channel.js")),
];

/// The page itself.
pub fn index() -> impl Endpoint<Output = Response> + 'static {
    make_sync(|_| serve("text/html; charset=utf-8", INDEX))
}

/// `:file`: what the page loads.
pub fn file() -> impl Endpoint<Output = Response> + 'static {
    make_sync(|request: Request| {
        let name = request.raw_path_param("file").unwrap_or_default();
        let Some((name, text)) = FILES.iter().find(|(known, _)| *known == name) else {
            return StatusCode::NOT_FOUND.into();
        };
        let script = name.ends_with(".js");
        serve(if script { "text/javascript; charset=utf-8" } else { "text/css; charset=utf-8" }, text)
    })
}

fn serve(content_type: &'static str, text: &'static str) -> Response {
    Response::builder().header(CONTENT_TYPE, content_type).header(CACHE_CONTROL, "no-cache").body(text)
}
