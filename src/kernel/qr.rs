//! A QR code as a picture. Pure.

use jpeg_encoder::{ColorType, Encoder};
use qrcode::{Color, EcLevel, QrCode};

/// Modules of white around the code.
const QUIET: usize = 4;
const QUALITY: u8 = 90;

/// A square JPEG of `width` pixels in grey; `None`: the text is too long for a code, or for this width.
pub fn jpeg(text: &str, width: usize) -> Option<Vec<u8>> {
    let code = QrCode::with_error_correction_level(text, EcLevel::M).ok()?;
    let modules = code.width();
    let scale = width / (modules + 2 * QUIET);
    if scale == 0 {
        return None;
    }
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
