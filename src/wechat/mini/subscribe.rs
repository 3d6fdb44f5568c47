//! Subscribe messages: the body, and the limits that a value has by the kind of its key.

use serde_json::{Map, Value, json};

use crate::wechat::{first_chars, guarded_debug};

/// One message to one user; it uses up one permission.
#[derive(Clone)]
pub struct SubscribeMessage {
    /// The user's openid.
    pub touser: String,
    pub template_id: String,
    /// What a tap opens, with its query; none: nothing opens.
    pub page: Option<String>,
    /// Key of the template and value. Values are fitted by [`fit`] when the message is sent.
    pub data: Vec<(String, String)>,
    /// `developer`, `trial` or `formal`.
    pub state: String,
}
guarded_debug!(SubscribeMessage: template_id, page, state);

impl SubscribeMessage {
    pub(super) fn body(&self) -> String {
        let data: Map<String, Value> =
            self.data.iter().map(|(key, text)| (key.clone(), json!({ "value": fit(key, text) }))).collect();
        let mut body = json!({
            "touser": self.touser,
            "template_id": self.template_id,
            "data": data,
            "miniprogram_state": self.state,
            "lang": "zh_CN",
        });
        if let Some(page) = &self.page {
            body["page"] = page.as_str().into();
        }
        body.to_string()
    }
}

/// Makes a value fit what WeChat allows for its key (`thing1`: the kind is `thing`). Text is cleaned and cut;
/// figures and times only lose white space, since a shorter figure would be another figure. Never empty,
/// because WeChat refuses an empty value. Applying it twice changes nothing.
pub fn fit(key: &str, text: &str) -> String {
    let kind = key.trim_end_matches(|c: char| c.is_ascii_digit());
    let clean = one_line(text);
    let fitted = match kind {
        "thing" => cut(&clean, 20),
        "character_string" => first_chars(&keep(&clean, |c| c.is_ascii_graphic()), 32),
        "letter" => first_chars(&keep(&clean, |c| c.is_ascii_alphabetic()), 32),
        "symbol" => first_chars(&keep(&clean, |c| !c.is_alphanumeric() && c != ' '), 5),
        "phrase" => first_chars(&keep(&clean, is_han), 5),
        "name" if clean.is_ascii() => cut(&clean, 20),
        "name" => cut(&clean, 10),
        "phone_number" => first_chars(&keep(&clean, |c| c.is_ascii_digit() || "+-*".contains(c)), 17),
        "car_number" => first_chars(&keep(&clean, |c| c != ' '), 8),
        "amount" | "number" => keep(&clean, |c| c != ' ' && c != ','),
        _ => clean,
    };
    let fitted = fitted.trim();
    if fitted.is_empty() { "-".to_owned() } else { fitted.to_owned() }
}

/// A moment for a `time` or `date` key, in China's time: `2026年1月2日 15:04`.
pub fn message_time(ms: crate::kernel::Millis) -> String {
    let zone = jiff::tz::TimeZone::fixed(jiff::tz::offset(8));
    let at = jiff::Timestamp::from_millisecond(ms).unwrap_or_default().to_zoned(zone);
    at.strftime("%Y年%-m月%-d日 %H:%M").to_string()
}

/// An amount for an `amount` key: `¥19.90`.
pub fn message_amount(fen: i64) -> String {
    let sign = if fen < 0 { "-" } else { "" };
    format!("{sign}¥{}.{:02}", fen.unsigned_abs() / 100, fen.unsigned_abs() % 100)
}

/// Without line breaks and control characters, white space once and not at the ends.
fn one_line(text: &str) -> String {
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn keep(text: &str, wanted: impl Fn(char) -> bool) -> String {
    text.chars().filter(|c| wanted(*c)).collect()
}

/// At most `max` characters, the last one an ellipsis if something was cut.
fn cut(text: &str, max: usize) -> String {
    if text.chars().count() <= max {
        return text.to_owned();
    }
    // A name in Latin letters may not hold an ellipsis; three dots count as three there.
    let dots = if text.is_ascii() { "..." } else { "…" };
    let head = first_chars(text, max - dots.chars().count());
    format!("{}{dots}", head.trim_end())
}

fn is_han(c: char) -> bool {
    matches!(c, '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{20000}'..='\u{323af}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_fitted_value_is_within_its_limit_and_stays_as_it_is(text in ".{0,60}", kind in prop::sample::select(&[
            ("thing", 20), ("character_string", 32), ("letter", 32), ("symbol", 5), ("phrase", 5), ("name", 20),
            ("phone_number", 17), ("car_number", 8), ("amount", 60), ("number", 60), ("time", 60), ("other", 60),
        ][..])) {
            let key = format!("{}12", kind.0);
            let fitted = fit(&key, &text);
            prop_assert!(!fitted.is_empty() && fitted.chars().count() <= kind.1, "{}", fitted);
            prop_assert!(kind.0 != "name" || fitted.is_ascii() || fitted.chars().count() <= 10);
            prop_assert_eq!(fit(&key, &fitted), fitted);
        }
    }

    #[test]
    fn values_are_fitted_by_the_kind_of_their_key() {
        assert_eq!(
            fit("thing2", "云南小粒咖啡豆\n250g 中度烘焙 两袋装 送量勺"),
            "云南小粒咖啡豆 250g 中度烘焙 两…"
        );
        assert_eq!(fit("phrase1", "待付款（微信）"), "待付款微信");
        assert_eq!(fit("name1", "欧阳"), "欧阳");
        assert_eq!(fit("name1", "Bartholomew Montgomery"), "Bartholomew Montg...");
        assert_eq!(fit("amount3", "¥1,234.50 元"), "¥1234.50元");
        assert_eq!(fit("character_string4", "SF 1234-中文-5"), "SF1234--5");
        assert_eq!(fit("thing1", " \n "), "-");
        assert_eq!(message_time(1_725_244_490_000), "2024年9月2日 10:34");
        assert_eq!(message_amount(1990), "¥19.90");
    }
}
