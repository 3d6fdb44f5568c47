//! The verbs: prepay, query, close, refund. Repeating one under the same number is always safe.

use reqwest::Method;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::sign::{PayClient, PaymentParams};
use super::transport::{Ask, nonce};
use super::{Pay, PayError, Prepay, RefundAnswer, RefundCall, RefundOf, Transaction};
use crate::wechat::http::Answer;
use crate::wechat::{Cause, china_time, first_chars};

const DESCRIPTION_CHARS_MAX: usize = 127;
const ATTACH_CHARS_MAX: usize = 128;
const REASON_BYTES_MAX: usize = 80;

const TRANSACTIONS: [&str; 3] = ["v3", "pay", "transactions"];
const REFUNDS: [&str; 4] = ["v3", "refund", "domestic", "refunds"];

impl Pay {
    /// The exact body of a prepay: store it, and send the same bytes whenever the outcome is unknown.
    pub fn prepay_body(&self, prepay: &Prepay) -> String {
        let mut body = json!({
            "appid": self.0.appid,
            "mchid": self.0.mchid,
            "description": first_chars(&prepay.description, DESCRIPTION_CHARS_MAX),
            "out_trade_no": prepay.out_trade_no,
            "time_expire": china_time(prepay.time_expire_ms, false),
            "notify_url": prepay.notify_url,
            "amount": { "total": prepay.total_minor, "currency": "CNY" },
            "payer": { "openid": prepay.openid },
        });
        if let Some(attach) = &prepay.attach {
            body["attach"] = first_chars(attach, ATTACH_CHARS_MAX).into();
        }
        body.to_string()
    }

    /// Answers the prepay_id, good for 2 h in the scene and for the openid that it was made for.
    pub async fn prepay(&self, body: &str) -> Result<String, PayError> {
        #[derive(Deserialize)]
        struct Prepaid {
            prepay_id: String,
        }
        let [v3, pay, transactions] = TRANSACTIONS;
        let path = [v3, pay, transactions, "jsapi"];
        let answer = self.ask(Ask { method: Method::POST, path: &path, query: None, body }).await?;
        let prepaid: Prepaid =
            serde_json::from_slice(ok_body(&answer)?).map_err(|_| Cause::Unreadable("no prepay_id in it"))?;
        if prepaid.prepay_id.is_empty() {
            return Err(Cause::Unreadable("no prepay_id in it").into());
        }
        Ok(prepaid.prepay_id)
    }

    /// What the mini-program hands to `wx.requestPayment`, with a fresh time, nonce and signature.
    pub fn payment_params(&self, prepay_id: &str) -> PaymentParams {
        let (time_stamp, nonce_str) = (self.0.clock.now_s().to_string(), nonce());
        let client = PayClient::Mini;
        let message = client.message(&self.0.appid, &time_stamp, &nonce_str, prepay_id);
        PaymentParams {
            package: client.package(prepay_id),
            sign_type: "RSA".to_owned(),
            pay_sign: self.0.signer.sign(message.as_bytes()),
            time_stamp,
            nonce_str,
        }
    }

    /// What WeChat Pay knows of a payment. A 404 proves nothing while a prepay may be in flight.
    pub async fn query(&self, out_trade_no: &str) -> Result<Transaction, PayError> {
        let [v3, pay, transactions] = TRANSACTIONS;
        let path = [v3, pay, transactions, "out-trade-no", out_trade_no];
        let query = Some(("mchid", self.0.mchid.as_str()));
        let answer = self.ask(Ask { method: Method::GET, path: &path, query, body: "" }).await?;
        let found = Transaction::from_wire(ok_body(&answer)?)
            .map_err(|_| Cause::Unreadable("not the JSON of a payment"))?;
        // A signed answer is good for five minutes, for any question: it must be the one to ours.
        if found.out_trade_no != out_trade_no {
            return Err(Cause::Unreadable("it is about another payment").into());
        }
        Ok(found)
    }

    /// Ok means closed, proved by 204. Closing a number that was never used burns it.
    pub async fn close(&self, out_trade_no: &str) -> Result<(), PayError> {
        let [v3, pay, transactions] = TRANSACTIONS;
        let path = [v3, pay, transactions, "out-trade-no", out_trade_no, "close"];
        let body = json!({ "mchid": self.0.mchid }).to_string();
        let answer = self.ask(Ask { method: Method::POST, path: &path, query: None, body: &body }).await?;
        if answer.status == 204 { Ok(()) } else { Err(Cause::Status(answer.status).into()) }
    }

    /// Submits a refund. Ok means accepted; `status` says how far it is.
    pub async fn refund(&self, refund: &RefundCall) -> Result<RefundAnswer, PayError> {
        let body = refund_body(refund).to_string();
        let ask = Ask { method: Method::POST, path: &REFUNDS, query: None, body: &body };
        refund_answer(&self.ask(ask).await?, &refund.out_refund_no)
    }

    pub async fn query_refund(&self, out_refund_no: &str) -> Result<RefundAnswer, PayError> {
        let [v3, refund, domestic, refunds] = REFUNDS;
        let path = [v3, refund, domestic, refunds, out_refund_no];
        let answer = self.ask(Ask { method: Method::GET, path: &path, query: None, body: "" }).await?;
        refund_answer(&answer, out_refund_no)
    }

    /// Signature, verification and clock against the live service, without money (`/v3/security/echo`).
    /// In certificate mode it downloads the certificates first, since the call must name a key.
    pub async fn ping(&self) -> Result<(), PayError> {
        #[derive(Deserialize)]
        struct Echo {
            echo_message: String,
        }
        if self.asked_key().is_none() {
            self.refresh_certificates().await?;
        }
        let text = nonce();
        let body = json!({ "echo_message": text }).to_string();
        let path = ["v3", "security", "echo"];
        let answer = self.ask(Ask { method: Method::POST, path: &path, query: None, body: &body }).await?;
        match serde_json::from_slice::<Echo>(ok_body(&answer)?) {
            Ok(echo) if echo.echo_message == text => Ok(()),
            _ => Err(Cause::Unreadable("it does not echo").into()),
        }
    }
}

/// 202 and 204 are successes that say nothing: not what a call with an answer waits for.
fn ok_body(answer: &Answer) -> Result<&[u8], PayError> {
    if answer.status == 200 { Ok(&answer.body) } else { Err(Cause::Status(answer.status).into()) }
}

fn refund_body(refund: &RefundCall) -> Value {
    let mut body = Map::new();
    match &refund.payment {
        RefundOf::TransactionId(id) => body.insert("transaction_id".into(), id.as_str().into()),
        RefundOf::OutTradeNo(number) => body.insert("out_trade_no".into(), number.as_str().into()),
    };
    body.insert("out_refund_no".into(), refund.out_refund_no.as_str().into());
    if let Some(reason) = &refund.reason {
        let end = reason.floor_char_boundary(REASON_BYTES_MAX);
        body.insert("reason".into(), reason[..end].into());
    }
    body.insert("notify_url".into(), refund.notify_url.as_str().into());
    let amount = json!({
        "refund": refund.refund_minor,
        "total": refund.total_minor,
        "currency": refund.currency,
    });
    body.insert("amount".into(), amount);
    Value::Object(body)
}

fn refund_answer(answer: &Answer, out_refund_no: &str) -> Result<RefundAnswer, PayError> {
    let refund = RefundAnswer::from_wire(ok_body(answer)?)
        .map_err(|_| Cause::Unreadable("not the JSON of a refund"))?;
    if refund.out_refund_no != out_refund_no {
        return Err(Cause::Unreadable("it is about another refund").into());
    }
    Ok(refund)
}
