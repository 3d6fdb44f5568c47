//! A bare hyper server: looks the path up, or asks Redis for it, and answers the bytes.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{HeaderName, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use redis::aio::MultiplexedConnection;
use redis::cmd;
use tokio::net::TcpListener;

use super::Answers;

struct Served {
    headers: Vec<(HeaderName, HeaderValue)>,
    bodies: HashMap<String, Bytes>,
    redis: Option<(MultiplexedConnection, String)>,
}

impl Served {
    async fn body(&self, path: &str) -> Option<Bytes> {
        let Some((connection, prefix)) = &self.redis else { return self.bodies.get(path).cloned() };
        let mut connection = connection.clone();
        let found: Option<Vec<u8>> =
            cmd("GET").arg(format!("{prefix}{path}")).query_async(&mut connection).await.ok()?;
        found.map(Bytes::from)
    }

    async fn answer<B>(&self, request: Request<B>) -> Response<Full<Bytes>> {
        let path = request.uri().path_and_query().map_or("", |path| path.as_str());
        let body = self.body(path).await;
        let status = if body.is_some() { StatusCode::OK } else { StatusCode::NOT_FOUND };
        let mut response = Response::new(Full::new(body.unwrap_or_default()));
        *response.status_mut() = status;
        response.headers_mut().extend(self.headers.iter().cloned());
        response
    }
}

pub async fn serve(port: u16, answers: Answers, redis: Option<(&str, &str)>) {
    let header = |(name, value): &(String, String)| {
        (name.parse().expect("a header's name"), value.parse().expect("a header's value"))
    };
    let redis = match redis {
        Some((url, prefix)) => {
            let client = redis::Client::open(url).expect("a Redis URL");
            let connection = client.get_multiplexed_async_connection().await.expect("Redis");
            Some((connection, prefix.to_owned()))
        }
        None => None,
    };
    let headers = answers.headers.iter().map(header).collect();
    let bodies = answers.bodies.into_iter().map(|(path, body)| (path, Bytes::from(body))).collect();
    let served = Arc::new(Served { headers, bodies, redis });
    let listener = TcpListener::bind(("127.0.0.1", port)).await.expect("the port");
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let _ = stream.set_nodelay(true);
        let served = served.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let served = served.clone();
                async move { Ok::<_, Infallible>(served.answer(request).await) }
            });
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}
