//! A client that costs next to nothing: requests are bytes made in advance, answers are read up to their length.
//! On a machine where client and server share the cores, every instruction saved here is the server's.

use std::io;
use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A connection that is kept open.
pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// An answer; the bytes are the connection's until the next request.
pub struct Answer<'a> {
    pub status: u16,
    pub head: &'a [u8],
    pub body: &'a [u8],
}

impl Answer<'_> {
    pub fn json(&self) -> Value {
        serde_json::from_slice(self.body).unwrap_or(Value::Null)
    }

    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The status, and a problem's code or else the whole body.
    pub fn text(&self) -> String {
        match self.json()["code"].as_str() {
            Some(code) => format!("{} {code}", self.status),
            None => format!("{}: {}", self.status, String::from_utf8_lossy(self.body)),
        }
    }
}

impl Connection {
    pub async fn open(to: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(to).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: vec![0; 64 * 1_024] })
    }

    pub async fn call(&mut self, request: &[u8]) -> io::Result<Answer<'_>> {
        let broken = |why: &str| io::Error::new(io::ErrorKind::InvalidData, why.to_owned());
        self.stream.write_all(request).await?;
        let mut filled = 0;
        let mut length = None;
        loop {
            if filled == self.buffer.len() {
                self.buffer.resize(filled * 2, 0);
            }
            let read = self.stream.read(&mut self.buffer[filled..]).await?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            filled += read;
            if length.is_none() {
                let Some(end) = end_of_head(&self.buffer[..filled]) else { continue };
                let head = &self.buffer[..end];
                let status = std::str::from_utf8(head.get(9..12).unwrap_or_default());
                let status: u16 =
                    status.ok().and_then(|s| s.parse().ok()).ok_or_else(|| broken("no status"))?;
                let body = match content_length(head) {
                    Some(body) => body,
                    None if status == 204 => 0,
                    None => return Err(broken("an answer without a length")),
                };
                length = Some((status, end, end + body));
            }
            if let Some((status, end, all)) = length
                && filled >= all
            {
                return Ok(Answer { status, head: &self.buffer[..end], body: &self.buffer[end..all] });
            }
        }
    }
}

fn end_of_head(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4)
}

fn content_length(head: &[u8]) -> Option<usize> {
    let name = b"\r\ncontent-length: ";
    let at = head.windows(name.len()).position(|window| window.eq_ignore_ascii_case(name))? + name.len();
    let digits = head[at..].iter().take_while(|byte| byte.is_ascii_digit());
    Some(digits.fold(0, |number, digit| number * 10 + usize::from(digit - b'0')))
}

/// A GET as bytes.
pub fn get(path: &str, token: Option<&str>) -> Vec<u8> {
    let authorization = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
    format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{authorization}\r\n").into_bytes()
}

/// A POST as bytes; `key` is its Idempotency-Key.
pub fn post(path: &str, token: Option<&str>, key: Option<&str>, body: &Value) -> Vec<u8> {
    let authorization = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
    let key = key.map(|key| format!("Idempotency-Key: {key}\r\n")).unwrap_or_default();
    let body = body.to_string();
    format!(
        "POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{authorization}{key}\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}
