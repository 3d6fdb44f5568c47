//! `getwxacodeunlimit`: a QR code of the scene that a phone can really read.

use serde_json::Value;

use super::mini::{self, Answer, Body, Refusal};
use super::server::Call;
use crate::kernel::qr;

const SCENE_MAX: usize = 32;

/// `POST /wxa/getwxacodeunlimit`
pub fn unlimited(call: &Call) -> Answer {
    let body = mini::body(call)?;
    let scene = body["scene"].as_str().unwrap_or_default();
    let good = |c: char| c.is_ascii_alphanumeric() || "!#$&'()*+,/:;=?@-._~".contains(c);
    if scene.is_empty() {
        return Err(Refusal::new(40169, "invalid length for scene, or the data is not json string"));
    }
    if scene.chars().count() > SCENE_MAX || !scene.chars().all(good) {
        return Err(Refusal::new(40129, "invalid scene"));
    }
    match &body["page"] {
        Value::Null => {}
        Value::String(page) if !page.starts_with('/') && !page.contains('?') => {}
        _ => return Err(Refusal::new(41030, "invalid page")),
    }
    let env = &body["env_version"];
    if !env.is_null() && !matches!(env.as_str(), Some("release" | "trial" | "develop")) {
        return Err(Refusal::new(40097, "invalid args: env_version"));
    }
    let width = match &body["width"] {
        Value::Null => 430,
        width => match width.as_u64() {
            Some(width @ 280..=1280) => width as usize,
            _ => return Err(Refusal::new(40097, "invalid args: width")),
        },
    };
    if body["is_hyaline"] == Value::Bool(true) {
        return Err(Refusal::new(40097, "invalid args: is_hyaline (the sandbox draws JPEG only)"));
    }
    qr::jpeg(scene, width).map(Body::Jpeg).ok_or_else(|| Refusal::new(-1, "system error"))
}
