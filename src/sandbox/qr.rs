//! `getwxacodeunlimit`: a QR code of the scene that a phone can really read.

use jpeg_encoder::{ColorType, Encoder};
use qrcode::{Color, EcLevel, QrCode};
use serde_json::Value;

use super::mini::{self, Answer, Body, Refusal};
use super::server::Call;

const SCENE_MAX: usize = 32;
/// Modules of white around the code.
const QUIET: usize = 4;
const QUALITY: u8 = 90;

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
    draw(scene, width).map(Body::Jpeg).ok_or_else(|| Refusal::new(-1, "system error"))
}

/// A square of `width` pixels in grey.
fn draw(scene: &str, width: usize) -> Option<Vec<u8>> {
    let code = QrCode::with_error_correction_level(scene, EcLevel::M).ok()?;
    let modules = code.width();
    let scale = width / (modules + 2 * QUIET);
    let margin = (width - scale * modules) / 2;
    let colors = code.to_colors();
    let mut pixels = vec![255_u8; width * width];
    for (index, _) in colors.iter().enumerate().filter(|(_, color)| **color == Color::Dark) {
        let (row, column) = (index / modules, index % modules);
        for y in 0..scale {
            let start = (margin + row * scale + y) * width + margin + column * scale;
            pixels[start..start + scale].fill(0);
        }
    }
    let mut jpeg = Vec::new();
    let side = u16::try_from(width).ok()?;
    Encoder::new(&mut jpeg, QUALITY).encode(&pixels, side, side, ColorType::Luma).ok()?;
    Some(jpeg)
}
