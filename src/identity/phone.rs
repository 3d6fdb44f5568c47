//! Phone numbers: parsed once, one spelling, masked wherever they are shown.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A phone number in its one spelling: 11 digits for a mainland mobile, `+` and digits for any other.
/// `Display` and `Debug` show it masked; the number itself is [`Phone::as_str`].
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Phone(Box<str>);

/// The text is no phone number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a mainland mobile number of 11 digits, or + with country code and number")]
pub struct NotAPhone;

impl Phone {
    /// `13800138000`, `+86 138 0013 8000` and `+852 9123 4567` are fine; spaces and hyphens don't count.
    pub fn parse(text: &str) -> Result<Self, NotAPhone> {
        let compact: String = text.chars().filter(|c| !matches!(c, ' ' | '-')).collect();
        let digits = compact.strip_prefix('+').unwrap_or(&compact);
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(NotAPhone);
        }
        let is_international = compact.len() > digits.len();
        let national = if is_international { digits.strip_prefix("86") } else { Some(digits) };
        match national {
            Some(number) if is_mainland_mobile(number) => Ok(Self(number.into())),
            Some(_) => Err(NotAPhone),
            // E.164: up to 15 digits, the country code never begins with 0.
            None if (7..=15).contains(&digits.len()) && !digits.starts_with('0') => Ok(Self(compact.into())),
            None => Err(NotAPhone),
        }
    }

    /// As WeChat hands it out: the number without its country code, and that code in digits.
    pub fn from_parts(country_code: &str, number: &str) -> Result<Self, NotAPhone> {
        Self::parse(&format!("+{}{number}", country_code.trim_start_matches('+')))
    }

    /// The number in clear: for sealing, hashing and the courier, never for logs.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// `138****8000`, `+85****567`.
    pub fn masked(&self) -> String {
        let tail = if self.0.starts_with('+') { 3 } else { 4 };
        format!("{}****{}", &self.0[..3], &self.0[self.0.len() - tail..])
    }
}

fn is_mainland_mobile(digits: &str) -> bool {
    digits.len() == 11 && matches!(digits.as_bytes(), [b'1', b'3'..=b'9', ..])
}

impl fmt::Display for Phone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.masked())
    }
}

impl fmt::Debug for Phone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.masked())
    }
}

impl From<Phone> for String {
    fn from(phone: Phone) -> Self {
        phone.0.into()
    }
}

impl TryFrom<String> for Phone {
    type Error = NotAPhone;
    fn try_from(text: String) -> Result<Self, NotAPhone> {
        Self::parse(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_number_has_one_spelling() {
        for text in ["13800138000", "+8613800138000", "+86 138-0013-8000", "138 0013 8000"] {
            assert_eq!(Phone::parse(text).unwrap().as_str(), "13800138000");
        }
        assert_eq!(Phone::from_parts("86", "13800138000").unwrap().as_str(), "13800138000");
        assert_eq!(Phone::from_parts("852", "91234567").unwrap().as_str(), "+85291234567");
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for text in [
            "",
            "+",
            "12345678901",
            "1380013800",
            "138001380000",
            "+8612345",
            "+0123456789",
            "+123456",
            "+1234567890123456",
            "13８00138000",
            "1380013800a",
            "+86+13800138000",
        ] {
            assert!(Phone::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_number_is_shown_masked() {
        let phone = Phone::parse("13800138000").unwrap();
        assert_eq!(format!("{phone} {phone:?}"), "138****8000 138****8000");
        assert_eq!(Phone::parse("+85291234567").unwrap().masked(), "+85****567");
        assert_eq!(serde_json::to_string(&phone).unwrap(), "\"13800138000\"");
    }
}
