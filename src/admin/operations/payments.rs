//! Payments that are not what was asked for.

use poem_openapi::param::{Header, Path};
use poem_openapi::types::Example;
use poem_openapi::{Object, OpenApi};
use serde_json::json;

use crate::kernel::AttemptId;
use crate::payments::{self, Decision};
use crate::platform::ctx::Ctx;
use crate::platform::idempotency::Key;
use crate::platform::web::{Body, NoContent, Reply, Tag};
use crate::staff::StaffAuth;

/// What a mismatched payment is.
#[derive(Debug, Object)]
#[oai(example)]
pub struct PaymentDecisionInput {
    /// ORPHAN: the money goes back in full. SUCCEEDED: it pays the order after all. NOT_OURS: another merchant
    /// got it, and it stays recorded.
    pub decision: Decision,
    /// For the order's timeline and the audit log.
    #[oai(validator(min_length = 1, max_length = 200))]
    pub reason: String,
}

impl Example for PaymentDecisionInput {
    fn example() -> Self {
        Self { decision: Decision::Orphan, reason: "金额不符，退回".to_owned() }
    }
}

pub struct PaymentDecisionsApi {
    pub ctx: Ctx,
}

#[OpenApi(prefix_path = "/admin/v1", tag = "Tag::Payments")]
impl PaymentDecisionsApi {
    /// Decide a mismatched payment
    ///
    /// A payment whose amount, currency, app or merchant is not what was asked for waits for a person. ORPHAN
    /// sends the money back in full; SUCCEEDED pays the order, only if amount and currency are what it asks
    /// for; NOT_OURS leaves what another merchant got. Closes the alert and leaves an audit row.
    ///
    /// Errors: `unauthenticated`, `payment_not_found`, `payment_not_decidable`.
    #[oai(path = "/payments/:attempt_id/decide", method = "post", operation_id = "decidePayment")]
    async fn decide_payment(
        &self,
        auth: StaffAuth,
        attempt_id: Path<AttemptId>,
        #[oai(name = "Idempotency-Key", validator(min_length = 1, max_length = 128))] key: Header<String>,
        body: Body<PaymentDecisionInput>,
    ) -> Reply<NoContent> {
        let actor = auth.actor();
        let key = Key::new(&actor, "decidePayment", &key, &json!([attempt_id.0, body.raw()]))?;
        payments::decide(&self.ctx, &actor, &key, &attempt_id, body.decision, &body.reason).await?;
        Ok(NoContent::Done)
    }
}
