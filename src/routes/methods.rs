//! A method that an address does not take is answered with those that it does: RFC 9110, 15.5.6.

use std::sync::Arc;

use poem::error::MethodNotAllowedError;
use poem::http::header::ALLOW;
use poem::http::{HeaderValue, Method};
use poem::{Endpoint, EndpointExt, IntoResponse, Request, Response};

use super::openapi;
use crate::kernel::{Failure, common};
use crate::platform::web::Problem;

/// What is in neither document and takes another method than GET.
const CALLBACKS: [(&str, Method); 4] = [
    ("/callbacks/wechat-pay/payments", Method::POST),
    ("/callbacks/wechat-pay/refunds", Method::POST),
    ("/callbacks/wechat/messages", Method::GET),
    ("/callbacks/wechat/messages", Method::POST),
];

/// The route, with `Allow` in each of its 405.
pub fn said(route: impl Endpoint + 'static) -> impl Endpoint<Output = Response> + 'static {
    let methods = Arc::new(Methods::collect());
    route.around(move |route, request: Request| {
        let methods = methods.clone();
        async move {
            let uri = request.uri().clone();
            match route.call(request).await {
                Err(error) if error.is::<MethodNotAllowedError>() => {
                    let mut refusal = Problem(Failure::new(&common::METHOD)).into_response();
                    refusal.headers_mut().insert(ALLOW, methods.of(uri.path()));
                    Ok(refusal)
                }
                answer => answer.map(IntoResponse::into_response),
            }
        }
    })
}

struct Methods(Vec<(String, Method)>);

impl Methods {
    fn collect() -> Self {
        let callbacks = CALLBACKS.map(|(path, method)| (path.to_owned(), method));
        Self(openapi::addresses().chain(callbacks).collect())
    }

    /// As the header says them. An address of nowhere else is a page: it is read.
    fn of(&self, path: &str) -> HeaderValue {
        let fitting = || self.0.iter().filter(|(pattern, _)| fits(pattern, path));
        // What is spelled out goes before a parameter in its place, as in the routes.
        let fewest = fitting().map(|(pattern, _)| pattern.matches('{').count()).min();
        let taken = |wanted: &Method| {
            let mut those = fitting().filter(|(pattern, _)| Some(pattern.matches('{').count()) == fewest);
            fewest.is_none() && wanted == Method::GET || those.any(|(_, method)| method == wanted)
        };
        let mut words = Vec::new();
        for method in [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
            if taken(&method) {
                words.push(method.as_str().to_owned());
                // Whatever is read can be asked for its headers.
                words.extend((method == Method::GET).then(|| "HEAD".to_owned()));
            }
        }
        HeaderValue::from_str(&words.join(", ")).unwrap_or(HeaderValue::from_static("GET"))
    }
}

fn fits(pattern: &str, path: &str) -> bool {
    let (pattern, path) = (pattern.split('/'), path.split('/'));
    pattern.clone().count() == path.clone().count()
        && pattern.zip(path).all(|(wanted, part)| wanted == part || wanted.starts_with('{'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_says_all_of_its_methods_and_no_other_s() {
        let methods = Methods::collect();
        for (path, words) in [
            ("/api/v1/me", "GET, HEAD, PATCH, DELETE"),
            ("/api/v1/orders/counts", "GET, HEAD"),
            ("/api/v1/cart/lines/sku_1", "PUT, DELETE"),
            ("/admin/v1/dead-letters/replay", "POST"),
            ("/callbacks/wechat/messages", "GET, HEAD, POST"),
            ("/healthz", "GET, HEAD"),
        ] {
            assert_eq!(methods.of(path), words, "{path}");
        }
    }
}
