//! The one transition table of orders. Every change of an order is a move in it; the diagram in
//! ARCHITECTURE.md is held against it by a test.

use crate::kernel::text_enum;

text_enum! {
    /// Where an order stands.
    pub enum OrderStatus {
        PendingPayment = "PENDING_PAYMENT",
        /// Cancelled, and the channel is asked to close the payment that may be on its way.
        Closing = "CLOSING",
        Closed = "CLOSED",
        Paid = "PAID",
        PartiallyShipped = "PARTIALLY_SHIPPED",
        Shipped = "SHIPPED",
        ReadyForPickup = "READY_FOR_PICKUP",
        Completed = "COMPLETED",
        /// The after-sale window is over.
        Finished = "FINISHED",
    }
}

text_enum! {
    /// What happens to an order.
    pub enum OrderMove {
        Placed = "placed",
        /// Placed with nothing to pay.
        PlacedFree = "placed_free",
        PaymentStarted = "payment_started",
        /// The open attempt was proved closed, or failed.
        PaymentEnded = "payment_ended",
        /// Staff asks for another price, while an attempt is open at the old one.
        RepriceRequested = "reprice_requested",
        Repriced = "repriced",
        /// The attempt was paid at the old price, or the order does not wait any more.
        RepriceDropped = "reprice_dropped",
        PaymentSucceeded = "payment_succeeded",
        /// Cancelled with no attempt open.
        Cancelled = "cancelled",
        /// Cancelled while an attempt is open.
        Closing = "closing",
        ChannelUnreachable = "channel_unreachable",
        /// No attempt can be paid any more.
        CloseConfirmed = "close_confirmed",
        /// Two people have confirmed that the channel can't answer.
        ClosedByStaff = "closed_by_staff",
        HoldReleased = "hold_released",
        ShippedPart = "shipped_part",
        ShippedAll = "shipped_all",
        /// What was not shipped is refunded, so what was shipped is everything.
        RestRefunded = "rest_refunded",
        ReadyForPickup = "ready_for_pickup",
        PickedUp = "picked_up",
        ExitChecked = "exit_checked",
        /// Everything was refunded before it was handed over.
        RefundedWhole = "refunded_whole",
        /// Everything was refunded after it was handed over.
        RefundedAfterwards = "refunded_afterwards",
        Completed = "completed",
        /// To be completed, but a refund is open.
        CompletionWaits = "completion_waits",
        Finished = "finished",
        FinishWaits = "finish_waits",
        RefundRequested = "refund_requested",
        /// The goods are to be sent back first.
        ReturnRequired = "return_required",
        /// The customer has sent them.
        ReturnSent = "return_sent",
        RefundApproved = "refund_approved",
        /// Staff had a refund tried at once.
        RefundRetried = "refund_retried",
        /// Only people can end a refund.
        RefundStuck = "refund_stuck",
        RefundEnded = "refund_ended",
        /// The channel refunded what fits no refund here.
        RefundDiffers = "refund_differs",
        /// One person proposes what takes two.
        Proposed = "proposed",
        ProposalConfirmed = "proposal_confirmed",
        ProposalDeclined = "proposal_declined",
        PaymentOrphaned = "payment_orphaned",
        PaymentMismatched = "payment_mismatched",
        /// A person has looked at a mismatched payment, and said what it is.
        PaymentReviewed = "payment_reviewed",
        TrackingCorrected = "tracking_corrected",
        /// The customer was told once more that the goods can be fetched.
        PickupReminded = "pickup_reminded",
        /// Nobody has fetched them for so long that staff is told.
        PickupOverdue = "pickup_overdue",
        /// Staff has looked at whom it goes to, in full.
        RecipientRevealed = "recipient_revealed",
        /// WeChat has accepted how it is shipped.
        UploadAccepted = "upload_accepted",
        /// WeChat was not told how it is shipped, and will be.
        UploadFailed = "upload_failed",
        /// WeChat is told no more by itself.
        UploadGivenUp = "upload_given_up",
        /// Staff has WeChat told at once.
        UploadRetried = "upload_retried",
        /// WeChat holds the money back.
        MoneyHeld = "money_held",
        /// WeChat holds the money back no longer.
        MoneyReleased = "money_released",
        OwnerChanged = "owner_changed",
        NoteAdded = "note_added",
    }
}

use OrderMove as M;
use OrderStatus as S;

/// A row of the table: from (`None`: the order is made by this move), the move, and to.
pub type Transition = (Option<OrderStatus>, OrderMove, OrderStatus);

/// Moves that change the status, or are allowed in some statuses only.
pub const TRANSITIONS: &[Transition] = &[
    (None, M::Placed, S::PendingPayment),
    (None, M::PlacedFree, S::Paid),
    (Some(S::PendingPayment), M::PaymentStarted, S::PendingPayment),
    (Some(S::PendingPayment), M::PaymentEnded, S::PendingPayment),
    (Some(S::PendingPayment), M::RepriceRequested, S::PendingPayment),
    (Some(S::PendingPayment), M::Repriced, S::PendingPayment),
    (Some(S::PendingPayment), M::PaymentSucceeded, S::Paid),
    (Some(S::PendingPayment), M::Cancelled, S::Closed),
    (Some(S::PendingPayment), M::Closing, S::Closing),
    (Some(S::Closing), M::ChannelUnreachable, S::Closing),
    (Some(S::Closing), M::CloseConfirmed, S::Closed),
    (Some(S::Closing), M::ClosedByStaff, S::Closed),
    (Some(S::Closing), M::PaymentSucceeded, S::Paid),
    (Some(S::Paid), M::HoldReleased, S::Paid),
    (Some(S::Paid), M::ShippedPart, S::PartiallyShipped),
    (Some(S::Paid), M::ShippedAll, S::Shipped),
    (Some(S::Paid), M::ReadyForPickup, S::ReadyForPickup),
    (Some(S::Paid), M::PickedUp, S::Completed),
    (Some(S::Paid), M::ExitChecked, S::Completed),
    (Some(S::Paid), M::RefundedWhole, S::Closed),
    (Some(S::ReadyForPickup), M::PickedUp, S::Completed),
    (Some(S::ReadyForPickup), M::RefundedWhole, S::Closed),
    (Some(S::PartiallyShipped), M::ShippedPart, S::PartiallyShipped),
    (Some(S::PartiallyShipped), M::ShippedAll, S::Shipped),
    (Some(S::PartiallyShipped), M::RestRefunded, S::Shipped),
    (Some(S::Shipped), M::CompletionWaits, S::Shipped),
    (Some(S::Shipped), M::Completed, S::Completed),
    (Some(S::Shipped), M::RefundedAfterwards, S::Shipped),
    (Some(S::Completed), M::FinishWaits, S::Completed),
    (Some(S::Completed), M::Finished, S::Finished),
    (Some(S::Completed), M::RefundedAfterwards, S::Completed),
    (Some(S::Finished), M::RefundedAfterwards, S::Finished),
];

/// Moves that leave a row in the timeline of an order in any status, and change nothing else.
pub const ANYWHERE: &[OrderMove] = &[
    M::RefundRequested,
    M::ReturnRequired,
    M::ReturnSent,
    M::RefundApproved,
    M::RefundRetried,
    M::RefundStuck,
    M::RefundEnded,
    M::RefundDiffers,
    M::Proposed,
    M::ProposalConfirmed,
    M::ProposalDeclined,
    M::PaymentOrphaned,
    M::PaymentMismatched,
    M::RepriceDropped,
    M::PaymentReviewed,
    M::TrackingCorrected,
    M::PickupReminded,
    M::PickupOverdue,
    M::RecipientRevealed,
    M::UploadAccepted,
    M::UploadFailed,
    M::UploadGivenUp,
    M::UploadRetried,
    M::MoneyHeld,
    M::MoneyReleased,
    M::OwnerChanged,
    M::NoteAdded,
];

/// Where `event` leads from `from`; `None` when the table has no such move.
pub fn next(from: Option<OrderStatus>, event: OrderMove) -> Option<OrderStatus> {
    if ANYWHERE.contains(&event) {
        return from;
    }
    TRANSITIONS.iter().find(|(f, m, _)| *f == from && *m == event).map(|(_, _, to)| *to)
}

/// The table as a Mermaid state diagram.
pub fn diagram() -> String {
    let mut text = String::from("stateDiagram-v2\n");
    for (from, event, to) in TRANSITIONS {
        let from = from.map_or("[*]", OrderStatus::as_str);
        text.push_str(&format!("    {from} --> {to}: {event}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_move_has_one_target_from_each_status() {
        for (index, (from, event, _)) in TRANSITIONS.iter().enumerate() {
            let again = TRANSITIONS[index + 1..].iter().any(|(f, m, _)| f == from && m == event);
            assert!(!again, "{from:?} {event} twice");
            assert!(!ANYWHERE.contains(event), "{event} is allowed anywhere");
        }
    }

    #[test]
    fn nothing_leaves_closed_and_nothing_returns_to_waiting_for_payment() {
        assert!(TRANSITIONS.iter().all(|(from, ..)| *from != Some(S::Closed)));
        for (from, event, to) in TRANSITIONS {
            if *to == S::PendingPayment {
                assert!(matches!(from, None | Some(S::PendingPayment)), "{event}");
            }
        }
    }
}
