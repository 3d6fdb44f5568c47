//! Order shipping information: without it WeChat keeps the money of an order frozen.
//! Source: developers.weixin.qq.com, business-capabilities/order-shipping.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::kernel::Millis;
use crate::wechat::{china_time, first_chars, guarded_debug};

/// `item_desc` is cut to this many characters.
const ITEM_DESC_CHARS_MAX: usize = 120;

/// How an order stands in WeChat's order management.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ManagedOrder {
    /// 1 to ship, 2 shipped, 3 received, 4 complete, 5 refunded, 6 funds awaiting settlement.
    pub order_state: i64,
    #[serde(default)]
    pub in_complaint: bool,
}

/// How WeChat finds the payment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OrderKey {
    Merchant { mchid: String, out_trade_no: String },
    Transaction { transaction_id: String },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Logistics {
    Express = 1,
    SameCity = 2,
    Virtual = 3,
    Pickup = 4,
}

impl OrderKey {
    /// As `get_order` takes it: there the members have other names than in an upload.
    pub(super) fn query(&self) -> String {
        match self {
            Self::Merchant { mchid, out_trade_no } => {
                json!({ "merchant_id": mchid, "merchant_trade_no": out_trade_no }).to_string()
            }
            Self::Transaction { transaction_id } => json!({ "transaction_id": transaction_id }).to_string(),
        }
    }
}

/// One parcel. Number and company are needed for [`Logistics::Express`] and left out when empty.
#[derive(Clone, PartialEq, Eq)]
pub struct ShippingParcel {
    pub tracking_no: String,
    /// The id from [`super::Mini::delivery_companies`].
    pub express_company: String,
    pub item_desc: String,
    /// The receiver's phone number, which SF Express needs; it is masked before it is sent.
    pub receiver_phone: Option<String>,
}
guarded_debug!(ShippingParcel: express_company, item_desc);

/// One upload: 1 to 15 parcels, exactly one if not split.
#[derive(Clone)]
pub struct ShippingInfo {
    pub order: OrderKey,
    pub logistics: Logistics,
    /// Several parcels, maybe in several uploads (express only).
    pub split: bool,
    /// With `split`: is this the last upload? Only then WeChat counts the order as shipped.
    pub all_delivered: bool,
    pub parcels: Vec<ShippingParcel>,
    /// Orders uploads of one payment.
    pub upload_ms: Millis,
    /// The payer's openid.
    pub openid: String,
}
guarded_debug!(ShippingInfo: order, logistics, split, all_delivered, parcels);

impl ShippingInfo {
    pub(super) fn body(&self) -> String {
        let order_key = match &self.order {
            OrderKey::Merchant { mchid, out_trade_no } => {
                json!({ "order_number_type": 1, "mchid": mchid, "out_trade_no": out_trade_no })
            }
            OrderKey::Transaction { transaction_id } => {
                json!({ "order_number_type": 2, "transaction_id": transaction_id })
            }
        };
        let mut body = json!({
            "order_key": order_key,
            "logistics_type": self.logistics as i64,
            "delivery_mode": if self.split { 2 } else { 1 },
            "shipping_list": self.parcels.iter().map(parcel).collect::<Vec<_>>(),
            "upload_time": china_time(self.upload_ms, true),
            "payer": { "openid": self.openid },
        });
        if self.split {
            body["is_all_delivered"] = self.all_delivered.into();
        }
        body.to_string()
    }
}

fn parcel(parcel: &ShippingParcel) -> Value {
    let mut entry = json!({ "item_desc": first_chars(&parcel.item_desc, ITEM_DESC_CHARS_MAX) });
    for (name, text) in [("tracking_no", &parcel.tracking_no), ("express_company", &parcel.express_company)] {
        if !text.is_empty() {
            entry[name] = text.as_str().into();
        }
    }
    if let Some(phone) = &parcel.receiver_phone {
        entry["contact"] = json!({ "receiver_contact": mask(phone) });
    }
    entry
}

/// All but the first three and the last four characters are hidden: `189****1234`.
fn mask(phone: &str) -> String {
    let shown_from = phone.chars().count().saturating_sub(4);
    let hide = |(at, c): (usize, char)| if at < 3.min(shown_from) || at >= shown_from { c } else { '*' };
    phone.chars().enumerate().map(hide).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upload_says_what_wechat_asks_for() {
        let info = ShippingInfo {
            order: OrderKey::Merchant { mchid: "1900007291".into(), out_trade_no: "A1".into() },
            logistics: Logistics::Express,
            split: true,
            all_delivered: false,
            parcels: vec![ShippingParcel {
                tracking_no: "SF1".into(),
                express_company: "SF".into(),
                item_desc: "豆".repeat(130),
                receiver_phone: Some("18912341234".into()),
            }],
            upload_ms: 1_671_082_169_120,
            openid: "o1".into(),
        };
        let body: Value = serde_json::from_str(&info.body()).unwrap();
        assert_eq!(body["upload_time"], "2022-12-15T13:29:29.120+08:00");
        assert_eq!(body["delivery_mode"], 2);
        assert_eq!(body["is_all_delivered"], false);
        assert_eq!(body["shipping_list"][0]["contact"]["receiver_contact"], "189****1234");
        assert_eq!(body["shipping_list"][0]["item_desc"].as_str().unwrap().chars().count(), 120);
        assert_eq!(body["order_key"]["order_number_type"], 1);
    }
}
