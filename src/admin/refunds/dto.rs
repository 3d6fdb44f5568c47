//! What staff sends and sees of refunds.

use poem_openapi::Object;
use poem_openapi::types::Example;
use serde_json::Value;

use crate::kernel::{
    AttemptId, Currency, DiscrepancyId, Failure, Money, OrderId, OrderLineId, ProposalId, RefundPhotoId,
    Result, UserId, rfc3339,
};
use crate::platform::proposals::{Proposal, ProposalKind, ProposalState};
use crate::refunds::{
    Approval, Condition, Discrepancy, Fault, RefundView, StaffEvidence, Submission, Take, Wanted, What,
};

/// How many of the units of a line that came back can be sold again.
#[derive(Debug, Clone, Object)]
pub struct GoodsInput {
    pub line_id: OrderLineId,
    #[oai(validator(minimum(value = "0"), maximum(value = "999")))]
    pub sellable: i64,
}

/// One word for all goods, or a number for each line; none: nobody has looked.
pub fn condition(sellable: Option<bool>, goods: Option<&Vec<GoodsInput>>) -> Result<Condition> {
    match (sellable, goods) {
        (Some(_), Some(_)) => Err(Failure::invalid("/goods", "goes instead of `sellable`, not with it")),
        (Some(all), None) => Ok(Condition::All(all)),
        (None, Some(goods)) => {
            Ok(Condition::Lines(goods.iter().map(|line| (line.line_id.clone(), line.sellable)).collect()))
        }
        (None, None) => Ok(Condition::Unknown),
    }
}

/// An approval.
#[derive(Debug, Object)]
#[oai(example)]
pub struct RefundApproval {
    /// Of all goods that come back: true puts them on the shelf again. Needed when goods come back, or `goods`.
    pub sellable: Option<bool>,
    /// The same for each line: how many units go on the shelf again.
    #[oai(validator(min_items = 1, max_items = 50))]
    pub goods: Option<Vec<GoodsInput>>,
    /// MERCHANT: it was the shop's fault, so a used coupon comes back after shipping, too. As it was unless told.
    pub fault: Option<Fault>,
    /// The customer reads it.
    #[oai(validator(max_length = 200))]
    pub note: Option<String>,
}

impl Example for RefundApproval {
    fn example() -> Self {
        Self {
            sellable: Some(true),
            goods: None,
            fault: Some(Fault::None),
            note: Some("已收到退货，完好".to_owned()),
        }
    }
}

impl RefundApproval {
    pub fn parse(&self) -> Result<Approval> {
        Ok(Approval {
            condition: condition(self.sellable, self.goods.as_ref())?,
            fault: self.fault,
            note: self.note.clone().unwrap_or_default(),
        })
    }
}

/// Goods that came back.
#[derive(Debug, Object)]
#[oai(example)]
pub struct ReceivedGoods {
    /// Of all of them: true puts them on the shelf again. Needed, or `goods`.
    pub sellable: Option<bool>,
    /// The same for each line: how many units go on the shelf again.
    #[oai(validator(min_items = 1, max_items = 50))]
    pub goods: Option<Vec<GoodsInput>>,
    /// The customer reads it.
    #[oai(validator(max_length = 200))]
    pub note: Option<String>,
}

impl Example for ReceivedGoods {
    fn example() -> Self {
        Self { sellable: Some(true), goods: None, note: Some("已收到退货，完好".to_owned()) }
    }
}

impl ReceivedGoods {
    pub fn parse(&self) -> Result<Approval> {
        Ok(Approval {
            condition: condition(self.sellable, self.goods.as_ref())?,
            fault: None,
            note: self.note.clone().unwrap_or_default(),
        })
    }
}

/// A rejection.
#[derive(Debug, Object)]
#[oai(example)]
pub struct RefundRejection {
    /// The customer reads it.
    #[oai(validator(min_length = 1, max_length = 200))]
    pub reason: String,
}

impl Example for RefundRejection {
    fn example() -> Self {
        Self { reason: "商品已使用，不符合退货条件".to_owned() }
    }
}

/// The goods are to come back first.
#[derive(Debug, Object)]
#[oai(example)]
pub struct ReturnRequest {
    /// Where to send them; the customer reads it.
    #[oai(validator(min_length = 1, max_length = 200))]
    pub note: String,
}

impl Example for ReturnRequest {
    fn example() -> Self {
        Self { note: "请寄至杭州市西湖区文三路 100 号，林小满收，13800138000".to_owned() }
    }
}

/// A line of a refund that staff starts: units with what was paid for them, or money alone.
#[derive(Debug, Clone, Object)]
pub struct StaffRefundLine {
    pub line_id: OrderLineId,
    /// Units; instead of `amount`.
    #[oai(validator(minimum(value = "1"), maximum(value = "999")))]
    pub quantity: Option<i64>,
    /// Money without any units; less if less is left.
    pub amount: Option<Money>,
}

/// A refund that staff starts. Without `lines` and `amount`: everything that is left.
#[derive(Debug, Object)]
#[oai(example)]
pub struct StaffRefundInput {
    #[oai(validator(min_items = 1, max_items = 50))]
    pub lines: Option<Vec<StaffRefundLine>>,
    /// Money of the order as a whole, over its lines in proportion; instead of `lines`. Less if less is left.
    pub amount: Option<Money>,
    /// The freight, too; only when the merchant is at fault.
    pub freight: Option<bool>,
    /// True: no line at all, the freight alone.
    pub only_freight: Option<bool>,
    /// NONE unless told.
    pub fault: Option<Fault>,
    /// The customer reads it.
    #[oai(validator(min_length = 1, max_length = 100))]
    pub reason: String,
    /// Of all goods that come back: can they be sold again? Without it somebody has to look at them first.
    pub sellable: Option<bool>,
    /// The same for each line: how many units.
    #[oai(validator(min_items = 1, max_items = 50))]
    pub goods: Option<Vec<GoodsInput>>,
}

impl Example for StaffRefundInput {
    fn example() -> Self {
        Self {
            lines: None,
            amount: Some(Money::cny(500)),
            freight: None,
            only_freight: None,
            fault: Some(Fault::Merchant),
            reason: "包装破损，补偿".to_owned(),
            sellable: None,
            goods: None,
        }
    }
}

impl StaffRefundInput {
    /// What goes back of an order in this currency.
    pub fn take(&self, currency: Currency) -> Result<Take> {
        let only_freight = self.only_freight.unwrap_or(false);
        match (&self.lines, &self.amount) {
            (Some(_), Some(_)) => Err(Failure::invalid("/amount", "goes instead of `lines`, not with them")),
            (None, None) if only_freight => Ok(Take::Freight),
            _ if only_freight => {
                Err(Failure::invalid("/only_freight", "goes with neither lines nor an amount"))
            }
            (None, Some(_)) if self.freight == Some(true) => {
                Err(Failure::invalid("/freight", "is part of an amount of the whole order already"))
            }
            (None, Some(amount)) => Ok(Take::Amount(minor(*amount, currency, "/amount")?)),
            (Some(lines), None) => {
                let line = |(index, line): (usize, &StaffRefundLine)| wanted(line, index, currency);
                Ok(Take::Lines(lines.iter().enumerate().map(line).collect::<Result<_>>()?))
            }
            (None, None) => Ok(Take::Everything),
        }
    }
}

fn wanted(line: &StaffRefundLine, index: usize, currency: Currency) -> Result<Wanted> {
    let what = match (line.quantity, line.amount) {
        (Some(units), None) => What::Units(units),
        (None, Some(amount)) => What::Money(minor(amount, currency, &format!("/lines/{index}/amount"))?),
        _ => {
            let field = format!("/lines/{index}");
            return Err(Failure::invalid(field, "must have either a quantity or an amount"));
        }
    };
    Ok(Wanted { line_id: line.line_id.clone(), what })
}

fn minor(amount: Money, currency: Currency, field: &str) -> Result<i64> {
    if amount.currency != currency {
        return Err(Failure::invalid(format!("{field}/currency"), format!("must be {currency}")));
    }
    if amount.amount < 1 {
        return Err(Failure::invalid(format!("{field}/amount"), "must be at least 1"));
    }
    Ok(amount.amount)
}

/// What shows that the money of a refund went back.
#[derive(Debug, Object)]
#[oai(example)]
pub struct RefundProofInput {
    #[oai(validator(min_length = 1, max_length = 500))]
    pub text: String,
    /// The number of the transfer.
    #[oai(validator(min_length = 1, max_length = 64))]
    pub reference: String,
    /// A photo that the same person has uploaded with `uploadRefundProof`.
    pub photo_id: Option<RefundPhotoId>,
}

impl Example for RefundProofInput {
    fn example() -> Self {
        Self {
            text: "已通过银行转账退款".to_owned(),
            reference: "2026031400012345".to_owned(),
            photo_id: None,
        }
    }
}

impl RefundProofInput {
    pub fn evidence(&self) -> StaffEvidence {
        StaffEvidence {
            text: self.text.clone(),
            reference: self.reference.clone(),
            photo: self.photo_id.clone(),
        }
    }
}

/// A photo that was uploaded.
#[derive(Debug, Object)]
pub struct UploadedProof {
    pub id: RefundPhotoId,
}

/// Why something is done.
#[derive(Debug, Object)]
#[oai(example)]
pub struct Because {
    /// For the timeline and the audit log.
    #[oai(validator(min_length = 1, max_length = 200))]
    pub reason: String,
}

impl Example for Because {
    fn example() -> Self {
        Self { reason: "已与顾客电话确认".to_owned() }
    }
}

/// A number of the payment channel.
#[derive(Debug, Object)]
#[oai(example)]
pub struct RefundNumber {
    /// 商户退款单号, as the merchant's console shows it.
    #[oai(validator(min_length = 1, max_length = 64, pattern = "^[0-9A-Za-z_|*@-]+$"))]
    pub out_refund_no: String,
}

impl Example for RefundNumber {
    fn example() -> Self {
        Self { out_refund_no: "WX01234567890123456789".to_owned() }
    }
}

/// What the payment channel says of a refund.
#[derive(Debug, Object)]
pub struct ChannelRefundView {
    pub out_refund_no: String,
    /// SUCCESS, PROCESSING, ABNORMAL or CLOSED.
    pub state: String,
    #[oai(skip_serializing_if_is_none)]
    pub amount: Option<Money>,
}

/// One number under which a refund was submitted.
#[derive(Debug, Object)]
pub struct SubmissionView {
    pub out_refund_no: String,
    /// Everything that the number carries; more than the refund where several went out together.
    pub amount: Money,
    /// SUCCESS, CLOSED or REFUSED; absent while money may still come of it.
    #[oai(skip_serializing_if_is_none)]
    pub outcome: Option<String>,
    pub created_at: String,
}

/// What one person has proposed.
#[derive(Debug, Object)]
pub struct ProposalView {
    pub id: ProposalId,
    pub kind: ProposalKind,
    /// The id of the refund or order that it is about.
    pub object: String,
    pub detail: Value,
    pub state: ProposalState,
    pub proposed_by: String,
    pub proposed_at: String,
    #[oai(skip_serializing_if_is_none)]
    pub decided_by: Option<String>,
    #[oai(skip_serializing_if_is_none)]
    pub decided_at: Option<String>,
    /// Why it was declined.
    #[oai(skip_serializing_if_is_none)]
    pub reason: Option<String>,
}

impl From<Proposal> for ProposalView {
    fn from(proposal: Proposal) -> Self {
        Self {
            id: proposal.id,
            kind: proposal.kind,
            object: proposal.object,
            detail: serde_json::from_str(&proposal.detail).unwrap_or_default(),
            state: proposal.state,
            proposed_by: proposal.proposed_by,
            proposed_at: rfc3339(proposal.proposed_ms),
            decided_by: proposal.decided_by,
            decided_at: proposal.decided_ms.map(rfc3339),
            reason: proposal.reason,
        }
    }
}

/// A refund with everything that staff sees.
#[derive(Debug, Object)]
pub struct StaffRefundView {
    #[oai(flatten)]
    pub refund: RefundView,
    pub user_id: UserId,
    /// The payment that it goes back through.
    #[oai(skip_serializing_if_is_none)]
    pub attempt_id: Option<AttemptId>,
    /// The number that settled it, where the shop did not submit it.
    #[oai(skip_serializing_if_is_none)]
    pub external_no: Option<String>,
    /// Oldest first.
    pub submissions: Vec<SubmissionView>,
    /// What was proposed about it, oldest first.
    pub proposals: Vec<ProposalView>,
}

pub fn submission_view(submission: Submission, currency: Currency) -> SubmissionView {
    SubmissionView {
        out_refund_no: submission.out_refund_no,
        amount: Money::new(submission.amount_minor, currency),
        outcome: submission.outcome,
        created_at: rfc3339(submission.created_ms),
    }
}

/// Money that the channel refunded, and that fits no refund here.
#[derive(Debug, Object)]
pub struct DiscrepancyView {
    pub id: DiscrepancyId,
    /// The channel's number of the refund.
    pub number: String,
    pub order_id: OrderId,
    pub attempt_id: AttemptId,
    pub amount: Money,
    pub why: String,
    pub found_at: String,
    #[oai(skip_serializing_if_is_none)]
    pub ended_at: Option<String>,
    /// What was done about it.
    #[oai(skip_serializing_if_is_none)]
    pub note: Option<String>,
}

impl From<Discrepancy> for DiscrepancyView {
    fn from(row: Discrepancy) -> Self {
        Self {
            id: row.id,
            number: row.external_no,
            order_id: row.order_id,
            attempt_id: row.attempt_id,
            amount: Money::new(row.amount_minor, row.currency),
            why: row.why,
            found_at: rfc3339(row.found_ms),
            ended_at: row.ended_ms.map(rfc3339),
            note: row.note,
        }
    }
}
