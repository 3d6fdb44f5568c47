//! The control API: everything the page can do is an HTTP call too. Its document is /sandbox/openapi.json.

use std::sync::{Arc, PoisonError};

use poem_openapi::param::{Path, Query};
use poem_openapi::payload::Json;
use poem_openapi::{ApiResponse, OpenApi, OpenApiService};

use super::calls::RawCall;
use super::cashier::{self, Parameters};
use super::control_types::*;
use super::faults::FaultKind;
use super::key_set::KeySet;
use super::refunds::Order;
use super::store::{self, By};
use super::{World, demo, login, notify, refunds, shipping};
use crate::kernel::rfc3339;

const ROWS_MAX: i64 = 100;

/// A refusal of the control API.
#[derive(ApiResponse)]
pub enum Refused {
    /// A value is wrong.
    #[oai(status = 400)]
    Invalid(Json<Problem>),
    /// There is no such thing.
    #[oai(status = 404)]
    NotFound(Json<Problem>),
    /// Not in this state.
    #[oai(status = 409)]
    Conflict(Json<Problem>),
    /// The sandbox itself failed.
    #[oai(status = 500)]
    Broken(Json<Problem>),
}

fn problem(code: &str, detail: impl Into<String>) -> Json<Problem> {
    Json(Problem { code: code.to_owned(), detail: detail.into() })
}

impl From<sqlx::Error> for Refused {
    fn from(error: sqlx::Error) -> Self {
        tracing::error!(%error, "the sandbox's database refused");
        Self::Broken(problem("internal", "the sandbox's database refused"))
    }
}

type Answer<T> = Result<Json<T>, Refused>;

/// The service that is nested under `/sandbox`.
pub fn service(world: Arc<World>) -> OpenApiService<Control, ()> {
    OpenApiService::new(Control(world), "minimall sandbox", env!("CARGO_PKG_VERSION"))
        .server("/sandbox")
        .description("Controls of the stand-in for WeChat and WeChat Pay.")
}

pub struct Control(Arc<World>);

#[OpenApi]
impl Control {
    /// Where the shop is, and what time it is here.
    #[oai(path = "/info", method = "get", operation_id = "getInfo")]
    async fn info(&self) -> Json<Info> {
        let now_ms = self.0.clock.now_ms();
        Json(Info {
            shop_url: self.0.shop_url.read().unwrap_or_else(PoisonError::into_inner).clone(),
            push_url: self.0.push_url(),
            clock_is_shared: self.0.clock_is_shared,
            now_ms,
            now: rfc3339(now_ms),
            fault_kinds: FaultKind::ALL.to_vec(),
        })
    }

    /// The demo identities in full, so that any WeChat Pay SDK can be pointed at this sandbox.
    #[oai(path = "/keys", method = "get", operation_id = "getKeys")]
    async fn keys(&self) -> Json<KeySet> {
        Json(KeySet::of(&self.0.keys))
    }

    /// What `wx.login` gives the client: a code that can be used once, within 5 minutes.
    #[oai(path = "/login-codes", method = "post", operation_id = "makeLoginCode")]
    async fn login_code(&self, Json(body): Json<LoginCodeRequest>) -> Answer<LoginCode> {
        let openid = match (body.openid, body.name) {
            (Some(openid), _) => openid,
            (None, Some(name)) => {
                let openid = login::demo_openid(&name);
                let mut connection = self.0.db.acquire().await?;
                store::remember_user(&mut connection, &openid, &name, self.0.clock.now_ms()).await?;
                openid
            }
            (None, None) => login::fresh_openid(),
        };
        let code = login::hand_out(&self.0, "login", &openid, None).await?;
        Ok(Json(LoginCode { code, openid }))
    }

    /// What the phone number button gives the client; not a login code.
    #[oai(path = "/phone-codes", method = "post", operation_id = "makePhoneCode")]
    async fn phone_code(&self, Json(body): Json<PhoneCodeRequest>) -> Answer<PhoneCode> {
        if !login::is_phone(&body.phone) {
            return Err(Refused::Invalid(problem("invalid_phone", "phone: 11 digits")));
        }
        let code = login::hand_out(&self.0, "phone", &body.openid, Some(&body.phone)).await?;
        Ok(Json(PhoneCode { code }))
    }

    /// The users that ever logged in here, newest first.
    #[oai(path = "/users", method = "get", operation_id = "listUsers")]
    async fn users(&self) -> Answer<Vec<User>> {
        let rows: Vec<(String, String)> =
            sqlx::query_as("SELECT openid, name FROM users ORDER BY created_ms DESC, rowid DESC LIMIT ?")
                .bind(ROWS_MAX)
                .fetch_all(&self.0.db)
                .await?;
        Ok(Json(rows.into_iter().map(|(openid, name)| User { openid, name }).collect()))
    }

    /// The user accepts subscribe messages: one credit for each template.
    #[oai(path = "/subscribe-grants", method = "post", operation_id = "grantSubscribe")]
    async fn grant(&self, Json(body): Json<GrantRequest>) -> Answer<Done> {
        let mut tx = self.0.db.begin().await?;
        for template_id in &body.template_ids {
            if demo::SUBSCRIBE_TEMPLATES.iter().all(|template| template.id != template_id) {
                return Err(Refused::Invalid(problem(
                    "unknown_template",
                    format!("{template_id} is unknown"),
                )));
            }
            sqlx::query(
                "INSERT INTO grants (openid, template_id, credits) VALUES (?, ?, 1) \
                 ON CONFLICT (openid, template_id) DO UPDATE SET credits = credits + 1",
            )
            .bind(&body.openid)
            .bind(template_id)
            .execute(&mut *tx)
            .await?;
        }
        tx.commit().await?;
        Ok(Json(Done { done: true }))
    }

    /// Subscribe messages that reached phones, newest first.
    #[oai(path = "/messages", method = "get", operation_id = "listMessages")]
    async fn messages(&self, openid: Query<Option<String>>) -> Answer<Vec<Message>> {
        let rows: Vec<MessageRow> = sqlx::query_as(
            "SELECT id, openid, template_id, page, data, sent_ms FROM messages \
             WHERE ? IS NULL OR openid = ? ORDER BY id DESC LIMIT ?",
        )
        .bind(&openid.0)
        .bind(&openid.0)
        .bind(ROWS_MAX)
        .fetch_all(&self.0.db)
        .await?;
        Ok(Json(rows.into_iter().map(Message::from).collect()))
    }

    /// The person pays: takes the parameters of `wx.requestPayment` and checks paySign, prepay_id and openid.
    #[oai(path = "/payments/:prepay_id/pay", method = "post", operation_id = "pay")]
    async fn pay(&self, prepay_id: Path<String>, Json(body): Json<PayRequest>) -> Answer<ClientResult> {
        let parameters = match (body.time_stamp, body.nonce_str, body.package, body.sign_type, body.pay_sign)
        {
            (Some(time_stamp), Some(nonce_str), Some(package), sign_type, Some(pay_sign)) => {
                // What the real client assumes when it is not told.
                let sign_type = sign_type.unwrap_or_else(|| "MD5".to_owned());
                Some(Parameters { time_stamp, nonce_str, package, sign_type, pay_sign })
            }
            _ if body.unchecked => None,
            _ => {
                let detail =
                    "send timeStamp, nonceStr, package, signType and paySign, or \"unchecked\": true";
                return Err(Refused::Invalid(problem("parameters_missing", detail)));
            }
        };
        cashier::pay(&self.0, &prepay_id, parameters, body.openid.as_deref(), body.coupon_amount)
            .await
            .map_err(|why| {
                Refused::Conflict(problem("payment_failed", format!("requestPayment:fail {why}")))
            })?;
        Ok(Json(ClientResult { err_msg: "requestPayment:ok".to_owned() }))
    }

    /// The person closes the payment window. Nothing changes at the channel.
    #[oai(path = "/payments/:prepay_id/refuse", method = "post", operation_id = "refuse")]
    async fn refuse(&self, prepay_id: Path<String>) -> Answer<ClientResult> {
        let found = store::payment(&mut *self.0.db.acquire().await?, By::Prepay(&prepay_id)).await?;
        match found {
            Some(_) => Ok(Json(ClientResult { err_msg: "requestPayment:fail cancel".to_owned() })),
            None => Err(Refused::NotFound(problem("not_found", "no such prepay_id"))),
        }
    }

    /// What the channel believes of payments, newest first.
    #[oai(path = "/payments", method = "get", operation_id = "listPayments")]
    async fn payments(&self) -> Answer<Vec<PaymentView>> {
        let mut views = Vec::new();
        for payment in store::payments(&self.0.db, ROWS_MAX).await? {
            let mut connection = self.0.db.acquire().await?;
            let shipment = shipping::find(&mut connection, &payment.out_trade_no).await?;
            let earlier = store::refunds_of(&mut connection, &payment.out_trade_no).await?;
            views.push(PaymentView::of(&payment, shipment.as_ref(), &earlier));
        }
        Ok(Json(views))
    }

    /// What the channel believes of refunds, newest first.
    #[oai(path = "/refunds", method = "get", operation_id = "listRefunds")]
    async fn refunds(&self) -> Answer<Vec<RefundView>> {
        let rows = store::refunds(&self.0.db, ROWS_MAX).await?;
        Ok(Json(rows.iter().map(RefundView::of).collect()))
    }

    /// What the channel has taken and given back in all: the lists show the newest rows, this counts every one.
    #[oai(path = "/books", method = "get", operation_id = "getBooks")]
    async fn books(&self) -> Answer<BooksView> {
        Ok(Json(store::books(&self.0.db).await?.into()))
    }

    /// A refund made by hand in the merchant's own WeChat app: the shop never asked for it.
    #[oai(path = "/refunds", method = "post", operation_id = "makeMerchantRefund")]
    async fn merchant_refund(&self, Json(body): Json<MerchantRefundRequest>) -> Answer<RefundView> {
        let world = &self.0;
        let mut tx = world.db.begin().await?;
        let payment = store::payment(&mut tx, By::Number(&body.out_trade_no)).await?;
        let payment = payment
            .filter(store::Payment::is_paid)
            .ok_or_else(|| Refused::NotFound(problem("not_found", "no such paid payment")))?;
        let number = format!("WX{}", super::keys::digits::<26>());
        let order = Order {
            out_refund_no: &number,
            amount: body.amount,
            total: payment.total,
            notify_url: body.notify_url.as_deref(),
            request: String::new(),
            signing: &payment.signing,
        };
        let refund = refunds::accept(world, &mut tx, &payment, order)
            .await
            .map_err(|refusal| Refused::Conflict(problem(refusal.code, refusal.message)))?;
        tx.commit().await?;
        world.wake.notify_one();
        Ok(Json(RefundView::of(&refund)))
    }

    /// Decides a refund that is PROCESSING (or makes an ABNORMAL one succeed), and notifies.
    #[oai(path = "/refunds/:out_refund_no/finish", method = "post", operation_id = "finishRefund")]
    async fn finish(
        &self,
        out_refund_no: Path<String>,
        Json(body): Json<FinishRequest>,
    ) -> Answer<RefundView> {
        match refunds::end(&self.0, &out_refund_no, body.status.as_str()).await? {
            Some(refund) => Ok(Json(RefundView::of(&refund))),
            None => Err(Refused::Conflict(problem("not_pending", "no refund in a state that could end so"))),
        }
    }

    /// The user confirms the receipt in WeChat's own order page; the frozen money is settled.
    #[oai(path = "/shipments/:out_trade_no/confirm", method = "post", operation_id = "confirmReceipt")]
    async fn confirm(&self, out_trade_no: Path<String>) -> Answer<Done> {
        match shipping::confirm(&self.0, &out_trade_no, 2).await? {
            true => Ok(Json(Done { done: true })),
            false => Err(Refused::Conflict(problem("not_shipped", "not fully shipped, or confirmed before"))),
        }
    }

    /// Notifications and pushes, sent or not, newest first.
    #[oai(path = "/notifications", method = "get", operation_id = "listNotifications")]
    async fn notifications(&self) -> Answer<Vec<NotificationView>> {
        let rows = notify::newest(&self.0, ROWS_MAX).await?;
        Ok(Json(rows.into_iter().map(NotificationView::from).collect()))
    }

    /// Sends a notification again now, whatever became of it.
    #[oai(path = "/notifications/:id/resend", method = "post", operation_id = "resendNotification")]
    async fn resend(&self, id: Path<i64>) -> Answer<Done> {
        match notify::resend(&self.0, id.0).await? {
            true => Ok(Json(Done { done: true })),
            false => Err(Refused::NotFound(problem("not_found", "no such notification"))),
        }
    }

    /// Raw calls with their headers and signatures, newest first; the last 500 are kept.
    #[oai(path = "/calls", method = "get", operation_id = "listCalls")]
    async fn calls(&self, limit: Query<Option<usize>>) -> Json<Vec<RawCall>> {
        Json(self.0.calls.newest(limit.0.unwrap_or(ROWS_MAX as usize)))
    }

    /// The faults that are active.
    #[oai(path = "/faults", method = "get", operation_id = "listFaults")]
    async fn faults(&self) -> Json<Vec<FaultView>> {
        Json(self.0.faults.list().into_iter().map(FaultView::from).collect())
    }

    /// Makes something go wrong, `times` times (once unless told; a switch stays on until it is cleared).
    #[oai(path = "/faults", method = "post", operation_id = "addFault")]
    async fn add_fault(&self, Json(body): Json<FaultRequest>) -> Json<Vec<FaultView>> {
        self.0.faults.add(body.kind, body.times, body.delay_ms, body.path);
        self.faults().await
    }

    /// Removes every fault, or those of one kind.
    #[oai(path = "/faults", method = "delete", operation_id = "clearFaults")]
    async fn clear_faults(&self, kind: Query<Option<FaultKind>>) -> Json<Done> {
        self.0.faults.clear(kind.0);
        Json(Done { done: true })
    }

    /// Moves the clock that shop and sandbox share: an order times out while you watch.
    #[oai(path = "/clock/advance", method = "post", operation_id = "advanceClock")]
    async fn advance(&self, Json(body): Json<AdvanceRequest>) -> Answer<Info> {
        if !self.0.clock_is_shared {
            let detail = "the shop runs on another clock; only a sandbox in the shop's own process moves it";
            return Err(Refused::Conflict(problem("clock_not_shared", detail)));
        }
        if body.ms < 0 {
            return Err(Refused::Invalid(problem("invalid_ms", "ms: time only moves ahead")));
        }
        self.0.clock.advance(body.ms);
        self.0.wake.notify_one();
        Ok(self.info().await)
    }
}
