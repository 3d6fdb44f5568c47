//! Field checks of WeChat Pay requests: each violation is PARAM_ERROR with the field that it is about.

use serde_json::Value;

use super::server::Call;
use super::v3::Refusal;
use crate::kernel::Millis;

/// The JSON body of a request.
pub struct Fields(Value);

/// How long a text may be.
#[derive(Clone, Copy)]
pub enum Most {
    Characters(usize),
    Bytes(usize),
}

impl Fields {
    pub fn of(call: &Call) -> Result<Self, Refusal> {
        let json = call.header("Content-Type").is_some_and(|kind| kind.starts_with("application/json"));
        if !json {
            return Err(Refusal::param("Content-Type", None, "应为 application/json", "header"));
        }
        match serde_json::from_slice::<Value>(&call.body) {
            Ok(value) if value.is_object() => Ok(Self(value)),
            _ => Err(Refusal::param("/", None, "请求体不是有效的JSON对象", "body")),
        }
    }

    /// The whole request as canonical text: replays with identical parameters have identical text.
    pub fn canonical(&self) -> String {
        self.0.to_string()
    }

    pub fn get(&self, pointer: &str) -> Option<&Value> {
        self.0.pointer(pointer).filter(|value| !value.is_null())
    }

    pub fn wrong(&self, pointer: &str, issue: &str) -> Refusal {
        Refusal::param(pointer, self.0.pointer(pointer), issue, "body")
    }

    /// An optional text. An empty one is refused: nothing in this API may be empty.
    pub fn text(&self, pointer: &str, most: Most) -> Result<Option<&str>, Refusal> {
        let Some(value) = self.get(pointer) else { return Ok(None) };
        let text = value.as_str().ok_or_else(|| self.wrong(pointer, "应为字符串"))?;
        let (length, most) = match most {
            Most::Characters(most) => (text.chars().count(), most),
            Most::Bytes(most) => (text.len(), most),
        };
        if length == 0 || length > most {
            return Err(self.wrong(pointer, &format!("长度应为1至{most}")));
        }
        Ok(Some(text))
    }

    pub fn required_text(&self, pointer: &str, most: Most) -> Result<&str, Refusal> {
        self.text(pointer, most)?.ok_or_else(|| self.wrong(pointer, "必填"))
    }

    pub fn integer(&self, pointer: &str, from: i64) -> Result<Option<i64>, Refusal> {
        let Some(value) = self.get(pointer) else { return Ok(None) };
        match value.as_i64() {
            Some(number) if number >= from => Ok(Some(number)),
            _ => Err(self.wrong(pointer, &format!("应为不小于{from}的整数"))),
        }
    }

    pub fn required_integer(&self, pointer: &str, from: i64) -> Result<i64, Refusal> {
        self.integer(pointer, from)?.ok_or_else(|| self.wrong(pointer, "必填"))
    }

    pub fn boolean(&self, pointer: &str) -> Result<(), Refusal> {
        match self.get(pointer) {
            None | Some(Value::Bool(_)) => Ok(()),
            Some(_) => Err(self.wrong(pointer, "应为布尔值")),
        }
    }

    /// How many entries a list has; none when it is absent.
    pub fn list(&self, pointer: &str) -> Result<Option<usize>, Refusal> {
        match self.get(pointer) {
            None => Ok(None),
            Some(Value::Array(list)) if !list.is_empty() => Ok(Some(list.len())),
            Some(_) => Err(self.wrong(pointer, "应为非空数组")),
        }
    }

    pub fn object(&self, pointer: &str) -> Result<bool, Refusal> {
        match self.get(pointer) {
            None => Ok(false),
            Some(Value::Object(_)) => Ok(true),
            Some(_) => Err(self.wrong(pointer, "应为对象")),
        }
    }

    /// Only digits, letters and these.
    pub fn only(&self, pointer: &str, text: &str, others: &str) -> Result<(), Refusal> {
        if text.chars().all(|c| c.is_ascii_alphanumeric() || others.contains(c)) {
            Ok(())
        } else {
            Err(self.wrong(pointer, "含有不允许的字符"))
        }
    }

    /// RFC 3339 with an offset.
    pub fn time(&self, pointer: &str) -> Result<Option<Millis>, Refusal> {
        let Some(text) = self.text(pointer, Most::Characters(64))? else { return Ok(None) };
        let at = text.parse::<jiff::Timestamp>();
        at.map(|at| Some(at.as_millisecond())).map_err(|_| self.wrong(pointer, "应为RFC3339时间"))
    }

    /// https and public, with a path, without a query; a loopback http URL is allowed here, and only here.
    pub fn notify_url(&self, most: usize) -> Result<Option<&str>, Refusal> {
        let pointer = "/notify_url";
        let Some(text) = self.text(pointer, Most::Characters(most))? else { return Ok(None) };
        let wrong = |issue| self.wrong(pointer, issue);
        let url = reqwest::Url::parse(text).map_err(|_| wrong("不是有效的URL"))?;
        if url.query().is_some() || url.fragment().is_some() {
            return Err(wrong("不能携带参数"));
        }
        if url.path().len() < 2 {
            return Err(wrong("缺少路径"));
        }
        let host = url.host_str().unwrap_or_default();
        let is_ip = host.starts_with('[') || host.parse::<std::net::IpAddr>().is_ok();
        let is_loopback = matches!(host, "127.0.0.1" | "localhost" | "[::1]");
        match url.scheme() {
            "http" if is_loopback => Ok(Some(text)),
            "https" if !is_ip && host.contains('.') => Ok(Some(text)),
            "https" => Err(wrong("应为可公网访问的域名")),
            _ => Err(wrong("应为https")),
        }
    }
}

/// RFC 3339 in +08:00 with whole seconds, as WeChat writes times.
pub fn beijing(at_ms: Millis) -> String {
    let offset = jiff::tz::TimeZone::fixed(jiff::tz::offset(8));
    jiff::Timestamp::from_millisecond(at_ms)
        .map(|at| at.to_zoned(offset).strftime("%Y-%m-%dT%H:%M:%S+08:00").to_string())
        .unwrap_or_default()
}
