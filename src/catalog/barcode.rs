//! Barcodes: GTIN-8, 12, 13 and 14 with their check digit.

use std::fmt;
use std::str::FromStr;

use crate::kernel::text_type;

/// A GTIN. One of 12 digits (UPC-A) is kept as 13 with a leading zero, as most scanners read it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Barcode(Box<str>);

impl Barcode {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The last digit that belongs behind these digits.
    pub(crate) fn check_digit(digits: &[u8]) -> u8 {
        let weighted = digits.iter().rev().enumerate().map(|(place, digit)| {
            let value = u32::from(digit - b'0');
            if place % 2 == 0 { value * 3 } else { value }
        });
        ((10 - weighted.sum::<u32>() % 10) % 10) as u8
    }
}

impl fmt::Display for Barcode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Barcode {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if !matches!(text.len(), 8 | 12 | 13 | 14) || !text.bytes().all(|b| b.is_ascii_digit()) {
            return Err("expected a barcode of 8, 12, 13 or 14 digits".to_owned());
        }
        let (digits, last) = text.as_bytes().split_at(text.len() - 1);
        if Self::check_digit(digits) != last[0] - b'0' {
            return Err("the check digit of this barcode is wrong".to_owned());
        }
        let padding = if text.len() == 12 { "0" } else { "" };
        Ok(Self(format!("{padding}{text}").into()))
    }
}

text_type!(Barcode, "Barcode", {
    let mut schema = poem_openapi::registry::MetaSchema::new("string");
    schema.pattern = Some("^([0-9]{8}|[0-9]{12,14})$".to_owned());
    schema
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_barcode_has_the_right_check_digit() {
        for right in ["6901028075763", "4006381333931", "96385074", "10614141000415"] {
            assert_eq!(right.parse::<Barcode>().unwrap().as_str(), right);
        }
        assert_eq!("036000291452".parse::<Barcode>().unwrap().as_str(), "0036000291452");
        for wrong in ["6901028075764", "690102807576", "", "69010280757639999", "69010280757x3"] {
            assert!(wrong.parse::<Barcode>().is_err(), "{wrong}");
        }
    }
}
