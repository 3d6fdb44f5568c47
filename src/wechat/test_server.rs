//! A real HTTP server on a free port, for tests of the clients: a function answers every request.

use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use poem::listener::{Acceptor, Listener, TcpListener};
use poem::{Endpoint, Request, Response, Server};

/// What arrived, in order: method, path with query, header text by name, body.
#[derive(Clone, Default)]
pub struct Seen(Arc<Mutex<Vec<Call>>>);

#[derive(Clone)]
pub struct Call {
    pub method: String,
    pub target: String,
    pub headers: poem::http::HeaderMap,
    pub body: String,
}

impl Call {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

impl Seen {
    pub fn all(&self) -> Vec<Call> {
        self.0.lock().unwrap().clone()
    }
    pub fn count(&self, part: &str) -> usize {
        self.all().iter().filter(|call| call.target.contains(part)).count()
    }
}

struct Answering<F>(F, Seen);

impl<F, Fut> Endpoint for Answering<F>
where
    F: Fn(Call) -> Fut + Send + Sync,
    Fut: Future<Output = Response> + Send,
{
    type Output = Response;
    async fn call(&self, mut request: Request) -> poem::Result<Response> {
        let call = Call {
            method: request.method().to_string(),
            target: request.uri().to_string(),
            headers: request.headers().clone(),
            body: request.take_body().into_string().await?,
        };
        self.1.0.lock().unwrap().push(call.clone());
        Ok((self.0)(call).await)
    }
}

/// Starts the server in this runtime; answers its base URL and what it has seen.
pub async fn serve<F, Fut>(answer: F) -> (String, Seen)
where
    F: Fn(Call) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Response> + Send + 'static,
{
    let acceptor = TcpListener::bind("127.0.0.1:0").into_acceptor().await.unwrap();
    let address = acceptor.local_addr().remove(0);
    let address = *address.as_socket_addr().unwrap();
    let seen = Seen::default();
    tokio::spawn(Server::new_with_acceptor(acceptor).run(Answering(answer, seen.clone())));
    (format!("http://{address}"), seen)
}

/// A server that takes requests and never answers.
pub async fn hanging() -> String {
    let (url, _) = serve(|_| async {
        tokio::time::sleep(Duration::from_secs(3_600)).await;
        Response::default()
    })
    .await;
    url
}

/// An address on which nobody listens.
pub async fn nobody() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}
