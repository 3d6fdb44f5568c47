//! The HTTP server: the page, the control API, and the simulated APIs, which need the exact bytes.

use std::collections::HashSet;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use poem::http::uri::Scheme;
use poem::http::{HeaderMap, StatusCode};
use poem::listener::Acceptor;
use poem::web::{LocalAddr, RemoteAddr};
use poem::{Endpoint, Request, Response, Route};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

use super::World;
use super::calls::{self, RawCall};
use super::faults::FaultKind;
use super::{control, mini, page, v3};

const BODY_MAX: usize = 1024 * 1024;
const SLOW_MS: u64 = 10_000;

/// A request to a simulated API, as it came over the wire.
pub struct Call {
    pub method: String,
    /// Path and query, byte for byte.
    pub target: String,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Call {
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// A query parameter, decoded; an empty one counts as missing.
    pub fn query(&self, name: &str) -> Option<String> {
        let query = self.target.split_once('?')?.1;
        let raw = query.split('&').filter_map(|pair| pair.split_once('=')).find(|(key, _)| *key == name)?.1;
        percent_decode(&raw.replace('+', " ")).filter(|value| !value.is_empty())
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// What goes back over the wire.
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
}

pub fn percent_decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digits = [rest.next()?, rest.next()?];
            bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

/// Connections that are to break instead of being answered.
type Doomed = Arc<Mutex<HashSet<SocketAddr>>>;

/// Serves until `stop` resolves.
pub async fn serve(world: Arc<World>, listener: TcpListener, stop: impl Future<Output = ()>) {
    let doomed = Doomed::default();
    let api = || Simulated { world: world.clone(), doomed: doomed.clone() };
    let control = control::service(world.clone());
    let spec = control.spec_endpoint();
    let routes = Route::new()
        .at("/", poem::get(page::index()))
        .at("/page/:file", poem::get(page::file()))
        .at("/sandbox/openapi.json", spec)
        .nest("/sandbox", control)
        .at("/v3/*rest", api())
        .at("/cgi-bin/*rest", api())
        .at("/sns/*rest", api())
        .at("/wxa/*rest", api());
    let acceptor = Breakable { listener, doomed };
    let server = poem::Server::new_with_acceptor(acceptor);
    if let Err(error) = server.run_with_graceful_shutdown(routes, stop, Some(Duration::from_secs(1))).await {
        tracing::error!(%error, "the sandbox's server ended");
    }
}

struct Simulated {
    world: Arc<World>,
    doomed: Doomed,
}

impl Endpoint for Simulated {
    type Output = Response;

    async fn call(&self, request: Request) -> poem::Result<Response> {
        let peer = request.remote_addr().as_socket_addr().copied();
        let (parts, body) = request.into_parts();
        let Ok(body) = body.into_bytes_limit(BODY_MAX).await else {
            return Ok(StatusCode::PAYLOAD_TOO_LARGE.into());
        };
        let target = parts.uri.path_and_query().map(|target| target.as_str().to_owned()).unwrap_or_default();
        let call =
            Call { method: parts.method.to_string(), target, headers: parts.headers, body: body.to_vec() };
        let world = self.world.clone();
        // In a task of its own: a real server finishes what it began even when the caller hangs up.
        let reply = tokio::spawn(async move { answer(&world, call).await }).await;
        match (reply, peer) {
            (Ok(Some(reply)), _) => {
                let mut response = Response::builder()
                    .status(StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR));
                for (name, value) in reply.headers {
                    response = response.header(name, value);
                }
                Ok(response.body(reply.body))
            }
            (Ok(None), Some(peer)) => {
                self.doomed.lock().unwrap_or_else(PoisonError::into_inner).insert(peer);
                Ok(StatusCode::BAD_GATEWAY.into())
            }
            _ => Ok(StatusCode::INTERNAL_SERVER_ERROR.into()),
        }
    }
}

/// None: the connection breaks without an answer.
async fn answer(world: &Arc<World>, call: Call) -> Option<Reply> {
    let path = call.path().to_owned();
    if world.faults.strikes(FaultKind::Down, &path) {
        log(world, &call, None);
        return None;
    }
    if let Some(slow) = world.faults.take(FaultKind::Slow, &path) {
        tokio::time::sleep(Duration::from_millis(slow.delay_ms.unwrap_or(SLOW_MS))).await;
    }
    let reply = if path.starts_with("/v3/") {
        v3::answer(world, &call).await
    } else {
        mini::answer(world, &call).await
    };
    world.wake.notify_one();
    let broken = world.faults.strikes(FaultKind::DownAfterWork, &path);
    let reply = Some(reply).filter(|_| !broken);
    log(world, &call, reply.as_ref());
    reply
}

fn log(world: &World, call: &Call, reply: Option<&Reply>) {
    let sent = |(name, value): &(&'static str, String)| calls::Header {
        name: (*name).to_owned(),
        value: value.clone(),
    };
    world.calls.record(RawCall {
        id: 0,
        at_ms: world.clock.now_ms(),
        direction: "in".to_owned(),
        method: call.method.clone(),
        target: call.target.clone(),
        request_headers: calls::headers(&call.headers),
        request_body: calls::body_text(&call.body),
        status: reply.map_or(0, |reply| reply.status),
        response_headers: reply.map(|reply| reply.headers.iter().map(sent).collect()).unwrap_or_default(),
        response_body: reply.map(|reply| calls::body_text(&reply.body)).unwrap_or_default(),
    });
}

/// Accepts connections that a fault can break.
struct Breakable {
    listener: TcpListener,
    doomed: Doomed,
}

impl Acceptor for Breakable {
    type Io = Connection;

    fn local_addr(&self) -> Vec<LocalAddr> {
        self.listener.local_addr().map(|addr| LocalAddr(addr.into())).into_iter().collect()
    }

    async fn accept(&mut self) -> io::Result<(Connection, LocalAddr, RemoteAddr, Scheme)> {
        let (stream, peer) = self.listener.accept().await?;
        stream.set_nodelay(true)?;
        let local = LocalAddr(self.listener.local_addr()?.into());
        let connection = Connection { stream, peer, doomed: self.doomed.clone() };
        Ok((connection, local, RemoteAddr(peer.into()), Scheme::HTTP))
    }
}

struct Connection {
    stream: TcpStream,
    peer: SocketAddr,
    doomed: Doomed,
}

impl Connection {
    fn is_doomed(&self) -> bool {
        self.doomed.lock().unwrap_or_else(PoisonError::into_inner).contains(&self.peer)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.doomed.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.peer);
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.is_doomed() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
